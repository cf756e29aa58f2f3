#!/bin/sh
# Makes the three nodes a replica set; does nothing if they are one.
set -eu
exec mongosh --quiet "mongodb://root:$(cat /run/secrets/mongo-root-password)@mongo-1/?directConnection=true&tls=true&tlsCAFile=/run/secrets/ca.pem" --eval '
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "auth", members: [1, 2, 3].map((n) => ({ _id: n, host: `mongo-${n}:27017`, priority: n === 1 ? 2 : 1 })) });
}'
