#!/bin/sh
# Runs as `mongodb`. mongod refuses a key file that a group may read, as the secret's group may, so it gets a copy.
set -eu
install -m 400 /run/secrets/mongo-keyfile /tmp/mongo-keyfile
exec docker-entrypoint.sh mongod --bind_ip_all --replSet auth --keyFile /tmp/mongo-keyfile \
    --tlsMode requireTLS --tlsCertificateKeyFile /run/secrets/node.pem --tlsCAFile /run/secrets/ca.pem \
    --tlsAllowConnectionsWithoutCertificates
