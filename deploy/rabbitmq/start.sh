#!/bin/sh
# Erlang refuses a cookie that others may read, and a mounted secret may be read by all: a copy of its own.
set -eu
install -m 400 -o rabbitmq -g rabbitmq /run/secrets/erlang-cookie /var/lib/rabbitmq/.erlang.cookie
exec docker-entrypoint.sh rabbitmq-server
