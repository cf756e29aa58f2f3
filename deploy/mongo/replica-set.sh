#!/bin/sh
# Makes the three nodes a replica set; does nothing if they are one. The password is read inside of mongosh, since every user
# of the host sees a command's arguments.
set -eu
exec mongosh --quiet "mongodb://mongo-1/?directConnection=true&tls=true&tlsCAFile=/run/secrets/ca.pem" --eval '
db.getSiblingDB("admin").auth("root", require("fs").readFileSync("/run/secrets/mongo-root-password", "utf8").trim());
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "auth", members: [1, 2, 3].map((n) => ({ _id: n, host: `mongo-${n}:27017`, priority: n === 1 ? 2 : 1 })) });
}'
