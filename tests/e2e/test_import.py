"""A user who exists elsewhere moves here: imported with a bcrypt hash, and logged in over the whole service."""

import json
from collections.abc import Iterator
from typing import Any

import bcrypt
import pymongo
import pytest
from pymongo.database import Database

from tests.e2e.tenant import PASSWORD, Tenant
from tests.import_command import Ended, run_import
from tests.service import RunningService


@pytest.fixture
def database(service: RunningService) -> Iterator[Database[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](service.mongo_url) as client:
        yield client.get_default_database()


async def test_an_imported_user_logs_in_with_the_password_they_have(
    service: RunningService, database: Database[dict[str, Any]], tenant: Tenant
) -> None:
    """From then on the hash is ours. Before and after, a wrong password is answered as any other is."""
    made_elsewhere = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    ann = {"login": "ann", "email": "ann@example.com", "passwordHash": made_elsewhere, "sub": "007", "scope": "read"}
    text = json.dumps({**ann, "registrationDate": 1_500_000_000_000}).encode()
    ended = await run_import("--tenant", tenant.email, "-", text=text, mongo_url=service.mongo_url)
    assert ended == Ended(0, ["1 imported, 0 there already, 0 refused"], [])

    def stored_hash() -> str:
        user = database.users.find_one({"tenant": tenant.id, "login": "ann"})
        assert user is not None
        return str(user["password_hash"])

    assert (await tenant.create("bob")).is_success
    before = [await tenant.login(login, "wrong") for login in ("ann", "bob", "nobody")]
    assert stored_hash() == made_elsewhere

    token = await tenant.token_of("ann")
    assert stored_hash().startswith("$argon2id$v=19$")
    claims = (await tenant.verify(token)).json()["decoded"]
    assert (claims["sub"], claims["scope"], claims["login"]) == ("007", "read", "ann")
    (listed,) = (await tenant.call("GET", "/user", params={"q": "ann"})).json()["users"]
    assert listed["registrationDate"] == 1_500_000_000_000

    after = [await tenant.login(login, "wrong") for login in ("ann", "bob", "nobody")]
    refused = {(response.status_code, response.json()["code"], response.json()["error"]) for response in before + after}
    assert {status for status, _, _ in refused} == {403}
    assert len(refused) == 1
    assert (await tenant.login("ann", made_elsewhere)).status_code == 403
    assert (await tenant.login("ann")).is_success

    again = await run_import("--tenant", tenant.email, "-", text=text, mongo_url=service.mongo_url)
    assert again == Ended(0, ["line 1: login: is there already", "0 imported, 1 there already, 0 refused"], [])
    assert stored_hash().startswith("$argon2id$v=19$"), "its old password would be back"


async def test_imported_users_are_their_tenants_alone(service: RunningService, tenant: Tenant) -> None:
    """Another tenant neither sees nor logs in who was imported, and may import the same login."""
    other = await Tenant.register(tenant.http)
    for owner, password in ((tenant, "the password at one"), (other, "the password at another")):
        made_elsewhere = bcrypt.hashpw(password.encode(), bcrypt.gensalt(8)).decode()
        user = {"login": "ann", "email": "ann@example.com", "passwordHash": made_elsewhere}
        ended = await run_import(
            "--tenant", owner.email, "-", text=json.dumps(user).encode(), mongo_url=service.mongo_url
        )
        assert ended.code == 0
    assert (await tenant.login("ann", "the password at another")).status_code == 403
    assert (await other.login("ann", "the password at another")).is_success
    assert (await tenant.login("ann", "the password at one")).is_success
