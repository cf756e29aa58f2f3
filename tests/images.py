"""The images that tests run: those of the compose files, or what the same variables name."""

import os

MONGO_IMAGE = os.environ.get("MONGO_IMAGE", "mongo:8")
#: With the management interface, as on a laptop.
RABBITMQ_MANAGEMENT_IMAGE = os.environ.get("RABBITMQ_IMAGE", "rabbitmq:4-management")
#: Without it, as in production.
RABBITMQ_IMAGE = os.environ.get("RABBITMQ_IMAGE", "rabbitmq:4")
HAPROXY_IMAGE = os.environ.get("HAPROXY_IMAGE", "haproxy:3.2")
PYTHON_IMAGE = "python:3.13-slim"
