"""The images that tests run: those of the compose files, or those that the same variables name."""

import os

MONGO_IMAGE = os.environ.get("MONGO_IMAGE", "mongo:8")
#: With the management interface, as in docker-compose.yml.
RABBITMQ_MANAGEMENT_IMAGE = os.environ.get("RABBITMQ_IMAGE", "rabbitmq:4-management")
#: Without the management interface, as in production.
RABBITMQ_IMAGE = os.environ.get("RABBITMQ_IMAGE", "rabbitmq:4")
HAPROXY_IMAGE = os.environ.get("HAPROXY_IMAGE", "haproxy:3.2")
PYTHON_IMAGE = "python:3.13-slim"
