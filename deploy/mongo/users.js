// Creates the users that are missing, with the roles of roles.js. Existing users get the role, and keep others.
{
  const secret = (name) => require("fs").readFileSync(`/run/secrets/${name}`, "utf8").trim();
  const users = [
    { user: "worker", role: "worker", db: "jincor_auth" },
    // Runs `python -m worker.indexes`; reads no document.
    { user: "deploy", role: "indexes", db: "jincor_auth" },
    // Used by mongodump only.
    { user: "backup", role: "backup", db: "admin" },
  ];
  for (const { user, role, db: name } of users) {
    const database = db.getSiblingDB(name);
    const roles = [{ role, db: name }];
    if (database.getUser(user)) database.grantRolesToUser(user, roles);
    else database.createUser({ user, pwd: secret(`mongo-${user}-password`), roles });
  }
}
