"""Users imported with a bcrypt hash, in the whole service."""

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


async def test_imported_user_logs_in_with_the_old_password_and_is_rehashed(
    service: RunningService, database: Database[dict[str, Any]], tenant: Tenant
) -> None:
    """Wrong passwords are answered alike before and after."""
    foreign_hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    ann = {"login": "ann", "email": "ann@example.com", "passwordHash": foreign_hash, "sub": "007", "scope": "read"}
    text = json.dumps({**ann, "registrationDate": 1_500_000_000_000}).encode()
    ended = await run_import("--tenant", tenant.email, "-", text=text, mongo_url=service.mongo_url)
    assert ended == Ended(0, ["1 imported, 0 there already, 0 refused"], [])

    def stored_hash() -> str:
        user = database.users.find_one({"tenant": tenant.id, "login": "ann"})
        assert user is not None
        return str(user["password_hash"])

    assert (await tenant.create("bob")).is_success
    before = [await tenant.login(login, "wrong") for login in ("ann", "bob", "nobody")]
    assert stored_hash() == foreign_hash

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
    assert (await tenant.login("ann", foreign_hash)).status_code == 403
    assert (await tenant.login("ann")).is_success

    repeated = await run_import("--tenant", tenant.email, "-", text=text, mongo_url=service.mongo_url)
    assert repeated == Ended(0, ["line 1: login: is there already", "0 imported, 1 there already, 0 refused"], [])
    assert stored_hash().startswith("$argon2id$v=19$"), "a second import keeps the new hash"


async def test_imported_users_belong_to_one_tenant(service: RunningService, tenant: Tenant) -> None:
    other = await Tenant.register(tenant.http)
    for owner, password in ((tenant, "the password at one"), (other, "the password at another")):
        foreign_hash = bcrypt.hashpw(password.encode(), bcrypt.gensalt(8)).decode()
        user = {"login": "ann", "email": "ann@example.com", "passwordHash": foreign_hash}
        ended = await run_import(
            "--tenant", owner.email, "-", text=json.dumps(user).encode(), mongo_url=service.mongo_url
        )
        assert ended.code == 0
    assert (await tenant.login("ann", "the password at another")).status_code == 403
    assert (await other.login("ann", "the password at another")).is_success
    assert (await tenant.login("ann", "the password at one")).is_success
