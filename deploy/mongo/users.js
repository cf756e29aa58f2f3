// The official image runs this once, on the first node's empty data, before there is a replica set.
const secret = (name) => require("fs").readFileSync(`/run/secrets/${name}`, "utf8").trim();

// Workers: their own database, and nothing about the server.
db.getSiblingDB("jincor_auth").createUser({
  user: "worker",
  pwd: secret("mongo-worker-password"),
  roles: [{ role: "readWrite", db: "jincor_auth" }],
});

// mongodump, and nothing else.
db.getSiblingDB("admin").createUser({
  user: "backup",
  pwd: secret("mongo-backup-password"),
  roles: [{ role: "backup", db: "admin" }],
});
