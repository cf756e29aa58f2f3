#!/bin/sh
# Replaces the containers of a service one by one: a new one is healthy before an old one is told to stop.
#
#   VERSION=2.1.0 sh deploy/roll.sh edge
#
# COMPOSE is how compose is called, if not `docker compose -f docker-compose.prod.yml`.
set -eu

service=$1
compose=${COMPOSE:-docker compose -f docker-compose.prod.yml}
# HAProxy asks for new names every second, and checks what it found every second.
DISCOVERY_SECONDS=5

old=$($compose ps -q "$service")
count=$(printf '%s\n' "$old" | grep -c .)

for container in $old; do
    $compose up -d --no-deps --no-recreate --wait --scale "$service=$((count + 1))" "$service"
    sleep "$DISCOVERY_SECONDS"
    # For as long as its stop_grace_period allows.
    docker stop "$container"
    docker rm "$container"
done
