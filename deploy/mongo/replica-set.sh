#!/bin/sh
# Initiates the replica set of three nodes, unless it exists. mongosh reads the password from its file, because
# every user of the host can see command-line arguments.
set -eu
exec mongosh --quiet "mongodb://mongo-1/?directConnection=true&tls=true&tlsCAFile=/run/secrets/ca.pem" --eval '
db.getSiblingDB("admin").auth("root", require("fs").readFileSync("/run/secrets/mongo-root-password", "utf8").trim());
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "auth", members: [1, 2, 3].map((n) => ({ _id: n, host: `mongo-${n}:27017`, priority: n === 1 ? 2 : 1 })) });
}'
