#!/bin/sh
# mongod refuses a key file that others may read, and a mounted secret may be read by all: a copy of its own.
set -eu
install -m 400 /run/secrets/mongo-keyfile /tmp/mongo-keyfile
chown 999:999 /tmp/mongo-keyfile # mongodb, in the official image
exec docker-entrypoint.sh mongod --bind_ip_all --replSet auth --keyFile /tmp/mongo-keyfile \
    --tlsMode requireTLS --tlsCertificateKeyFile /run/secrets/node.pem --tlsCAFile /run/secrets/ca.pem \
    --tlsAllowConnectionsWithoutCertificates
