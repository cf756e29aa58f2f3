"""`deploy/mongo/roles.js` and `users.js` in MongoDB's own shell. SecantusDB is the server if there is no `mongod`."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from dev.mongo import MongoServer
from dev.processes import REPOSITORY
from tests.database_roles import SCRIPTS, Access, access
from tests.interop.programs import output_of, program

Document = dict[str, Any]

#: The actions of each role by collection.
Actions = dict[str, dict[str, set[str]]]

SECRETS = "/run/secrets"


@pytest.fixture
async def mongo(tmp_path: Path) -> AsyncIterator[MongoServer]:
    server = MongoServer(tmp_path / "mongo")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def scripts(tmp_path: Path) -> list[Path]:
    """The scripts, reading the passwords from a directory of the test. A password is its user's name."""
    for user in access().users:
        (tmp_path / f"mongo-{user}-password").write_text(f"{user}\n")
    copies = [tmp_path / Path(script).name for script in SCRIPTS]
    for script, mine in zip(SCRIPTS, copies, strict=True):
        mine.write_text((REPOSITORY / script).read_text().replace(SECRETS, str(tmp_path)))
    return copies


async def test_scripts_in_mongosh_create_roles_and_users_and_repair_them_later(
    mongo: MongoServer, scripts: list[Path], tmp_path: Path
) -> None:
    """As `deploy/mongo/replica-set.sh` runs them at each start. Further roles of a user stay."""
    expected = access()
    command = [program("mongosh"), "--quiet", mongo.url, "--eval", "".join(f'load("{each}");' for each in scripts)]
    await output_of(tmp_path, *command)
    assert granted(mongo, expected) == (privileges(expected.roles), {name: set() for name in expected.users})
    with MongoClient[Document](mongo.url) as client:
        database = client["jincor_auth"]
        database.command("updateRole", "worker", privileges=expected.roles["worker"][:1], roles=[])
        database.command("grantRolesToUser", "worker", roles=["readWrite"])
        database.command("revokeRolesFromUser", "worker", roles=["worker"])
    await output_of(tmp_path, *command)
    assert granted(mongo, expected) == (
        privileges(expected.roles),
        {name: {"readWrite"} if name == "worker" else set() for name in expected.users},
    )
    for name, user in expected.users.items():
        with MongoClient[Document](mongo.url, username=name, password=name, authSource=user["db"]) as client:
            client.admin.command("ping")


def granted(mongo: MongoServer, expected: Access) -> tuple[Actions, dict[str, set[str]]]:
    """Return the privileges of the roles, and the roles that each user has beside its own one, which it must have."""
    others = {}
    with MongoClient[Document](mongo.url) as client:
        found = client["jincor_auth"].command("rolesInfo", 1, showPrivileges=True)["roles"]
        for name, user in expected.users.items():
            (info,) = client[user["db"]].command("usersInfo", name)["users"]
            roles = {each["role"] for each in info["roles"]}
            (own,) = (each["role"] for each in user["roles"])
            assert own in roles
            others[name] = roles - {own}
    return privileges({each["role"]: each["privileges"] for each in found}), others


def privileges(roles: Mapping[str, list[Document]]) -> Actions:
    """Return the actions by role and collection."""
    return {
        role: {each["resource"]["collection"]: set(each["actions"]) for each in listed}
        for role, listed in roles.items()
    }
