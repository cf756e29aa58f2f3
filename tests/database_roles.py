"""What `deploy/mongo/roles.js` and `users.js` create: they run in Node.js, on a database that only takes notes."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from dev.processes import REPOSITORY

SCRIPTS = ("deploy/mongo/roles.js", "deploy/mongo/users.js")
#: mongosh's `db`, on a server that has nothing yet; and `require("fs")`, whose files contain their names.
NOTES = """
const notes = [];
const database = (name) => new Proxy({}, {get: (_, call) => (...of) => {
  if (call.startsWith("get")) return null;
  notes.push([name, call, ...of]);
}});
const globals = {
  db: {getSiblingDB: database},
  require: () => ({readFileSync: (path) => path + "\\n"}),
};
const {readFileSync} = require("fs");
for (const path of process.argv.slice(1))
  new Function(...Object.keys(globals), readFileSync(path, "utf8"))(...Object.values(globals));
console.log(JSON.stringify(notes));
"""


@dataclass(frozen=True)
class Access:
    """The roles of the database `jincor_auth`, and the users with their database and password."""

    roles: Mapping[str, list[dict[str, Any]]]
    users: Mapping[str, dict[str, Any]]

    def actions(self, role: str) -> dict[str, set[str]]:
        """Return the actions that a role allows, by collection."""
        assert all(privilege["resource"]["db"] == "jincor_auth" for privilege in self.roles[role])
        return {each["resource"]["collection"]: set(each["actions"]) for each in self.roles[role]}


def access() -> Access:
    """Return what the scripts create on a fresh server. Skips without Node.js, except in CI."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI"):
            pytest.fail("Node.js is not installed")
        pytest.skip("Node.js is not installed")
    command = [node, "--eval", NOTES, *SCRIPTS]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)  # noqa: S603 - our own scripts
    roles, users = {}, {}
    for database, call, given in json.loads(done.stdout):
        if call == "createRole":
            assert database == "jincor_auth"
            roles[given["role"]] = given["privileges"]
        else:
            assert call == "createUser"
            users[given["user"]] = {**given, "db": database}
    return Access(roles, users)
