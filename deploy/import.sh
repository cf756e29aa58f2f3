#!/bin/sh
# Imports RabbitMQ definitions from standard input: sh deploy/import.sh < definitions.json
#
# EXEC  command that runs another one in a broker's container, with standard input
#       (default: docker compose -f docker-compose.prod.yml exec -T rabbitmq-1)
set -eu

exec=${EXEC:-docker compose -f docker-compose.prod.yml exec -T rabbitmq-1}

# Through a file, because rabbitmqctl 4 reads no standard input and waits for ever, and 3.10 refuses a pipe as
# /dev/stdin. The file contains password hashes; in these containers /tmp is in memory.
# shellcheck disable=SC2086  # A list of words.
$exec sh -c '
    set -eu
    file=$(mktemp)
    trap "rm -f $file" EXIT
    cat > "$file"
    rabbitmqctl import_definitions "$file"'
