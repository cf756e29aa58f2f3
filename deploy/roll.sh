#!/bin/sh
# Replaces the containers of a service one by one. Each new container is healthy before an old one is stopped.
#
#   VERSION=2.1.0 sh deploy/roll.sh edge
#
# COMPOSE  the compose command (default: docker compose -f docker-compose.prod.yml)
set -eu

service=$1
compose=${COMPOSE:-docker compose -f docker-compose.prod.yml}
# HAProxy resolves names every second, and checks the health of new edges every second.
DISCOVERY_SECONDS=5

old=$($compose ps -q "$service")
count=$(printf '%s\n' "$old" | grep -c .)

for container in $old; do
    $compose up -d --no-deps --no-recreate --wait --scale "$service=$((count + 1))" "$service"
    sleep "$DISCOVERY_SECONDS"
    # Waits up to the container's stop_grace_period.
    docker stop "$container"
    docker rm "$container"
done
