#!/bin/sh
# Runs as `rabbitmq`. Erlang refuses a cookie that others may read, and the secret's group may: a copy of its own.
set -eu
install -m 400 /run/secrets/erlang-cookie /var/lib/rabbitmq/.erlang.cookie
# Metrics need no password and name queues. So they are served at this address alone, which only the network
# `broker-telemetry` knows by this name. Without one the node does not start.
found=$(getent hosts "$(hostname)-telemetry")
export METRICS_ADDRESS="${found%% *}"
exec docker-entrypoint.sh rabbitmq-server
