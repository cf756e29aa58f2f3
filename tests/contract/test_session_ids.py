"""Logins that are delivered twice: the id of their session is computed, and no other unique index is needed."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from shared.contracts.events import RevocationReason
from tests import fakes
from tests.fakes import NOW
from tests.records import a_session, a_tenant, a_user
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.domain.call import Call
from worker.domain.ports import Ports, Sessions
from worker.domain.records import Revocation, StoredSession
from worker.domain.session_opening import open_tenant_session, open_user_session

TENANT = a_tenant(id="shop")
ANN = a_user(tenant="shop", login="ann")
OPENER = a_session(user=None)
#: The unique index of the previous version, which its workers create and rely on.
OF_PREVIOUS_VERSION = [("tenant", ASCENDING), ("user", ASCENDING), ("opened_by", ASCENDING)]

Login = Callable[[Ports, str], Awaitable[str]]


async def tenant_login(ports: Ports, message_id: str) -> str:
    return await open_tenant_session(TENANT, Call(message_id), ports)


async def user_login(ports: Ports, message_id: str) -> str:
    _, token = await open_user_session(ANN, "phone", OPENER, Call(message_id), ports)
    return token


@pytest.fixture(params=["fake", "mongo"])
def sessions(request: pytest.FixtureRequest) -> Sessions:
    if request.param == "fake":
        return fakes.FakeSessions()
    return MongoSessions(request.getfixturevalue("mongo_database"))


async def worker(sessions: Sessions) -> Ports:
    tenants = fakes.FakeTenants()
    await tenants.add(TENANT)
    return fakes.ports(tenants=tenants, sessions=sessions)


async def session_of(ports: Ports, token: str) -> StoredSession:
    session_id = ports.tokens.session_id(token)
    assert session_id is not None
    return (await ports.sessions.find([session_id]))[session_id]


async def test_collection_of_sessions_has_no_unique_index_but_ids(mongo_database: MongoDatabase) -> None:
    """MongoDB shards no collection with another one by the hash of `_id`."""
    indexes = await mongo_database.collection("sessions").index_information()
    assert [name for name, index in indexes.items() if index.get("unique")] == []


@pytest.mark.parametrize("login", [tenant_login, user_login])
async def test_login_delivered_to_many_workers_opens_one_session(sessions: Sessions, login: Login) -> None:
    ports = await worker(sessions)
    tokens = await asyncio.gather(*(login(ports, "message") for _ in range(20)))
    assert len(set(tokens)) == 1
    assert await login(ports, "another message") != tokens[0]


@pytest.mark.parametrize("login", [tenant_login, user_login])
async def test_login_repeated_after_each_revocation_opens_a_new_session(sessions: Sessions, login: Login) -> None:
    """Callers may reuse a message id: a login never returns a token that is already revoked."""
    ports = await worker(sessions)
    opened = []
    for _ in range(4):
        session = await session_of(ports, await login(ports, "message"))
        assert session.revocation is None
        opened.append(session.id)
        await sessions.revoke(session, Revocation(NOW, RevocationReason.LOGOUT))
    assert len(set(opened)) == 4


@pytest.mark.parametrize("login", [tenant_login, user_login])
async def test_login_that_the_previous_version_answered_returns_its_session(
    mongo_database: MongoDatabase, login: Login
) -> None:
    """Workers of that version give each session a random id."""
    collection = mongo_database.collection("sessions")
    await collection.create_index(OF_PREVIOUS_VERSION, unique=True)
    ports = await worker(MongoSessions(mongo_database))
    token = await login(ports, "message")
    (document,) = await collection.find({}).to_list(None)
    await collection.delete_one({"_id": document["_id"]})
    await collection.insert_one({**document, "_id": (random_id := uuid.uuid4().hex)})
    assert ports.tokens.session_id(await login(ports, "message")) == random_id
    assert await login(ports, "message") != token
    assert await collection.count_documents({}) == 1


async def test_login_that_this_version_answered_is_refused_to_the_previous_one(mongo_database: MongoDatabase) -> None:
    """Workers of that version then look for the session by these fields."""
    collection = mongo_database.collection("sessions")
    await collection.create_index(OF_PREVIOUS_VERSION, unique=True)
    await user_login(await worker(MongoSessions(mongo_database)), "message")
    (document,) = await collection.find({}).to_list(None)
    with pytest.raises(DuplicateKeyError):
        await collection.insert_one({**document, "_id": uuid.uuid4().hex})
    found = await collection.find_one({name: document[name] for name, _ in OF_PREVIOUS_VERSION})
    assert found == document


@pytest.mark.parametrize(
    "changes", [{"tenant": "bank"}, {"id": "bob"}, {"generation": 1}], ids=["tenant", "user", "generation"]
)
async def test_message_id_of_another_account_opens_another_session(changes: dict[str, object]) -> None:
    ports = await worker(fakes.FakeSessions())
    first, _ = await open_user_session(ANN, "phone", OPENER, Call("message"), ports)
    other, _ = await open_user_session(replace(ANN, **changes), "phone", OPENER, Call("message"), ports)  # type: ignore[arg-type]
    on_another_device, _ = await open_user_session(ANN, "laptop", OPENER, Call("message"), ports)
    assert len({first.id, other.id, on_another_device.id}) == 3
