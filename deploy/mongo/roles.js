// Creates or updates the roles of the service's users. Each role names its collections: no role can drop or rename one.
{
  const database = db.getSiblingDB("jincor_auth");
  const everything = ["find", "insert", "update", "remove"];
  const worker = {
    tenants: everything,
    users: everything,
    attempts: everything,
    // The database removes expired documents of these itself.
    sessions: ["find", "insert", "update"],
    refusals: ["find", "insert", "update"],
    sweep_leases: ["insert", "update"],
    deletions: ["find", "insert"],
    // So no worker changes or removes an audit record.
    audit: ["find", "insert"],
  };
  // Which indexes exist, and which are being built.
  const look = ["listIndexes", "indexStats"];
  const privileges = (actions) =>
    Object.keys(worker).map((collection) => ({
      resource: { db: "jincor_auth", collection },
      actions: [...actions(collection), ...look],
    }));
  const roles = {
    worker: privileges((collection) => worker[collection]),
    indexes: privileges(() => ["createIndex"]),
  };
  for (const role in roles) {
    const definition = { privileges: roles[role], roles: [] };
    if (database.getRole(role)) database.updateRole(role, definition);
    else database.createRole({ role, ...definition });
  }
}
