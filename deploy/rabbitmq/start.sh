#!/bin/sh
# Runs as `rabbitmq`. Erlang refuses a cookie that a group may read, as the secret's group may, so it gets a copy.
set -eu
install -m 400 /run/secrets/erlang-cookie /var/lib/rabbitmq/.erlang.cookie
# Metrics need no password and contain queue names, so the node serves them only in the network `broker-telemetry`,
# where this name resolves. If it does not resolve, the node does not start.
found=$(getent hosts "$(hostname)-telemetry")
export METRICS_ADDRESS="${found%% *}"
exec docker-entrypoint.sh rabbitmq-server
