// The official image runs this script once, on the first node without data, before the replica set exists.
const secret = (name) => require("fs").readFileSync(`/run/secrets/${name}`, "utf8").trim();

// Workers may access only their database, not the server's administration.
db.getSiblingDB("jincor_auth").createUser({
  user: "worker",
  pwd: secret("mongo-worker-password"),
  roles: [{ role: "readWrite", db: "jincor_auth" }],
});

// Used by mongodump only.
db.getSiblingDB("admin").createUser({
  user: "backup",
  pwd: secret("mongo-backup-password"),
  roles: [{ role: "backup", db: "admin" }],
});
