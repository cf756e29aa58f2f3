#!/bin/sh
# Initiates the replica set of three nodes, unless it exists, and creates or updates roles and users. mongosh reads
# passwords from their files, because every user of the host can see command-line arguments.
set -eu
root='db.getSiblingDB("admin").auth("root", require("fs").readFileSync("/run/secrets/mongo-root-password", "utf8").trim());'
options="tls=true&tlsCAFile=/run/secrets/ca.pem"
mongosh --quiet "mongodb://mongo-1/?directConnection=true&$options" --eval "$root"'
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "auth", members: [1, 2, 3].map((n) => ({ _id: n, host: `mongo-${n}:27017`, priority: n === 1 ? 2 : 1 })) });
}'
# Waits for the primary.
exec mongosh --quiet "mongodb://mongo-1,mongo-2,mongo-3/?replicaSet=auth&$options" --eval "$root"'
load("/opt/roles.js");
load("/opt/users.js");'
