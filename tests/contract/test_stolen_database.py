"""Attacks with a copy of the whole database, without and with a master key."""

import hmac
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import jwt
import pytest

from shared.contracts import OPERATIONS
from shared.contracts.auth_verify import AuthVerifyReply
from shared.contracts.claims import TENANT_TYPE
from shared.contracts.errors import InvalidToken
from shared.contracts.permissions import OPERATOR_PERMISSIONS
from tests import fakes
from tests.records import a_key
from worker.adapters.argon2_hasher import Argon2Hasher
from worker.adapters.jwt_tokens import ALGORITHM, KEY_PURPOSE, OPERATOR_TYPE, USER_TYPE, JwtTokens
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.operations import HANDLERS

PASSWORDS = {"tenant": "a password of the tenant", "user": "a password of the user", "new": "a password set later"}
MASTER_KEY = b"the master key, of 256 bits all!"
PEPPER = b"the pepper, also of 256 bits all"

Documents = list[dict[str, Any]]


@pytest.fixture
async def worker(mongo_database: MongoDatabase) -> AsyncIterator[Ports]:
    hasher = Argon2Hasher(threads=1, memory_kib=8, passes=1, peppers={"p": PEPPER})
    yield fakes.ports(
        tenants=MongoTenants(mongo_database),
        users=MongoUsers(mongo_database),
        sessions=MongoSessions(mongo_database),
        hasher=hasher,
        tokens=JwtTokens({"k": MASTER_KEY}, fakes.ISSUER),
    )
    hasher.close()


async def use_service(worker: Ports) -> list[str]:
    """Return the tokens issued while a tenant and its users use the service."""
    count = itertools.count()

    async def call(name: str, **fields: Any) -> Any:
        request = OPERATIONS[name].request.model_validate(fields)
        return await HANDLERS[name](request, Call(f"message-{next(count)}"), worker)

    tenant = {"email": "shop@example.com", "password": PASSWORDS["tenant"]}
    tokens = [(await call("tenant.register", **tenant)).token, (await call("tenant.login", **tenant)).token]
    for login in ("ann", "bob"):
        user = {"tenantToken": tokens[0], "login": login}
        password = {"password": PASSWORDS["user"]}
        await call("user.create", **user, **password, email=f"{login}@example.com", scope="read")
        tokens.append((await call("auth.login", **user, **password, deviceId="phone")).access_token)
        await call("user.update", **user, password=PASSWORDS["new"])
        password = {"password": PASSWORDS["new"]}
        tokens += [(await call("auth.login", **user, **password, deviceId="tv")).access_token for _ in range(2)]
        await call("auth.logout", tenantToken=tokens[0], token=tokens[-1])
    await call("user.delete", tenantToken=tokens[0], login="bob")
    tenant_id = (await call("tenant.verify", token=tokens[0])).decoded.tenant
    worker = replace(worker, operator_tenant=tenant_id)
    ann = await worker.users.find(tenant_id, "ann")
    assert ann is not None
    await worker.users.replace_operator_permissions(ann, OPERATOR_PERMISSIONS, a_key())
    operator = {"tenantToken": tokens[0], "login": "ann", "password": PASSWORDS["new"], "deviceId": "laptop"}
    tokens.append((await call("operator.login", **operator)).access_token)
    return tokens


async def dumped(database: MongoDatabase) -> dict[str, Documents]:
    """Return all documents of all collections."""
    owner = database.collection("users").database
    names = await owner.list_collection_names()
    return {name: await owner[name].find({}).to_list(None) for name in names if not name.startswith("system.")}


def leaves(value: Any) -> Iterator[bytes]:
    """Yield every value and every name in a dump as bytes."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name).encode()
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield bytes(value) if isinstance(value, bytes) else str(value).encode()


def claims_of(session: dict[str, Any], tenant: str, user: str | None) -> dict[str, Any]:
    """Return the claims of a token of this session."""
    owner = {"sub": user or tenant, "id": user or tenant, "login": session["login"], "tenant": tenant}
    times = {"iat": int(session["issued_at"].timestamp()), "exp": int(session["expires_at"].timestamp())}
    kind = {"deviceId": session["device_id"]} if user else {"isTenant": True}
    audience = tenant if user and "operator" not in session else fakes.ISSUER
    return {"iss": fakes.ISSUER, "aud": audience, "jti": session["_id"]} | owner | times | kind


def forged(session: dict[str, Any], key: bytes) -> str:
    """Return a token of this session that is right except for its key."""
    claims = claims_of(session, session["tenant"], session["user"])
    kind = OPERATOR_TYPE if "operator" in session else USER_TYPE if session["user"] else TENANT_TYPE
    return jwt.encode(claims, key, ALGORITHM, headers={"typ": kind, "kid": session["_id"]})


def derived(master_key: bytes, session: dict[str, Any]) -> bytes:
    """Derive the key of a session as the public source does."""
    parts = (KEY_PURPOSE, session["_id"].encode(), bytes(session["secret"]))
    return hmac.digest(master_key, b"\0".join(parts), "sha256")


async def passes(worker: Ports, token: str) -> bool:
    """Return whether the token passes as one of its session, live or revoked."""
    session_id = worker.tokens.session_id(token) or ""
    session = (await worker.sessions.find([session_id]))[session_id]
    try:
        worker.tokens.verify(token, session, worker.clock.now())
    except InvalidToken:
        return False
    return True


async def test_stolen_database_without_the_master_key_forges_no_token(
    mongo_database: MongoDatabase, worker: Ports
) -> None:
    """No stored value works as a session key or as a master key."""
    await use_service(worker)
    dump = await dumped(mongo_database)
    assert {"tenants", "users", "sessions", "deletions"} <= dump.keys()
    values = {value for value in leaves(list(dump.values())) if value} | {b"\0" * 32}
    assert len(values) > 50
    tried = 0
    for session in dump["sessions"]:
        assert await passes(worker, forged(session, derived(MASTER_KEY, session))), "the forger knows how it is done"
        for value in values:
            for key in (value, derived(value, session), hmac.digest(value, bytes(session["secret"]), "sha256")):
                assert not await passes(worker, forged(session, _long(key)))
                tried += 1
    assert tried > 1_000


async def test_forged_token_of_a_revoked_session_is_refused_despite_the_master_key(
    mongo_database: MongoDatabase, worker: Ports
) -> None:
    """With both halves of a key an attacker can sign for any session; the worker still asks the database."""
    tokens = await use_service(worker)
    sessions = (await dumped(mongo_database))["sessions"]
    user_sessions = [session for session in sessions if session["user"] and "operator" not in session]
    checks = [
        {"tenantToken": tokens[0], "token": forged(session, derived(MASTER_KEY, session))} for session in user_sessions
    ]
    request = OPERATIONS["auth.verify"].request.model_validate({"checks": checks})
    reply = await HANDLERS["auth.verify"](request, Call("message"), worker)
    assert isinstance(reply, AuthVerifyReply)
    accepted = [answer.claims is not None for answer in reply.answers]
    assert accepted == ["revocation" not in session for session in user_sessions]
    assert set(accepted) == {True, False}


async def test_database_contains_no_password_token_or_key(mongo_database: MongoDatabase, worker: Ports) -> None:
    """Passwords are stored only as argon2id hashes that name their pepper."""
    tokens = await use_service(worker)
    dump = await dumped(mongo_database)
    everything = b"\n".join(leaves(list(dump.values())))
    assert b"shop@example.com" in everything, "the search looks at the right text"
    for password in PASSWORDS.values():
        assert password.encode() not in everything
    for token in tokens:
        assert token.encode() not in everything
        assert token.rpartition(".")[2].encode() not in everything
    assert MASTER_KEY not in everything
    assert PEPPER not in everything
    hashes = [document["password_hash"] for name in ("tenants", "users") for document in dump[name]]
    assert hashes
    assert all(password_hash.startswith("p$argon2id$v=19$") for password_hash in hashes)


def _long(key: bytes) -> bytes:
    """Pad a key with NUL, as HMAC does; PyJWT warns about keys shorter than the algorithm's."""
    return key.ljust(32, b"\0")
