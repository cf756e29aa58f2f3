"""Tenants, users and sessions written directly to the database, because 200,000 logins would take an hour."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from motor.motor_asyncio import AsyncIOMotorClient

from shared.contracts.claims import Claims
from worker.adapters.index_definitions import INDEXES
from worker.adapters.jwt_tokens import JwtTokens
from worker.domain.records import StoredSession, StoredUser

#: Devices of each user, with a session on each.
DEVICES: Final = ("phone", "laptop")
#: No valid hash: these users never log in.
PASSWORD_HASH: Final = "none"
#: Longer than the benchmark runs.
LIFETIME: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Login:
    """A live session of a user: its id, its token, and the token of its tenant."""

    session_id: str
    tenant: str
    tenant_token: str
    token: str


class Population:
    """Writes records to the database of a stack and signs tokens with its master key; an async context manager."""

    def __init__(self, mongo_url: str, master_keys: Mapping[str, bytes], issuer: str) -> None:
        self._client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongo_url)
        self._database = self._client.get_default_database()
        self._tokens = JwtTokens(master_keys, issuer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.close()

    async def add(self, tenants: int, sessions_each: int, logins: int) -> Sequence[Login]:
        """Add tenants with sessions, and return the tokens of `logins` sessions, from all tenants in turn.

        Only the users of these logins are stored: nothing looks up the others.
        """
        issued: list[list[Login]] = []
        for _ in range(tenants):
            own = self._session(tenant=_new_id(), user=None, login="tenant:bench@example.com", device_id=None)
            sessions = [
                self._session(tenant=own.tenant, user=user, login=f"user {user}", device_id=device_id)
                for user in (_new_id() for _ in range(-(-sessions_each // len(DEVICES))))
                for device_id in DEVICES
            ][:sessions_each]
            wanted = sessions[: -(-logins // tenants)]
            await self._insert("users", [_user(session) for session in wanted[:: len(DEVICES)]])
            await self._insert("sessions", [own, *sessions])
            tenant_token = self._sign(own)
            issued.append([Login(each.id, own.tenant, tenant_token, self._sign(each)) for each in wanted])
        return [login for turn in zip(*issued, strict=True) for login in turn][:logins]

    async def add_few(self) -> Sequence[Login]:
        """Add 100 tenants with 2,000 sessions in total, and return the logins of one tenant with half of them."""
        logins = await self.add(tenants=1, sessions_each=1_000, logins=1_000)
        await self.add(tenants=99, sessions_each=10, logins=0)
        return logins

    async def drop_indexes(self) -> None:
        """Drop the session indexes that neither verifications nor sweeps use.

        Maintaining them takes most of the time of adding many sessions.
        """
        for index in INDEXES["sessions"]:
            if not index.document.get("sparse"):
                await self._database["sessions"].drop_index(index.document["name"])

    async def password_hash(self) -> str:
        """Return a password hash that a worker made, with its parameters."""
        user = await self._database["users"].find_one({"password_hash": {"$ne": PASSWORD_HASH}})
        return str((user or {})["password_hash"])

    async def find_session(self, session_id: str) -> None:
        """Read one session, with the driver that the workers use."""
        await self._database["sessions"].find_one({"_id": session_id})

    async def _insert(self, collection: str, records: Sequence[StoredSession] | Sequence[StoredUser]) -> None:
        if records:
            await self._database[collection].insert_many([_document(record) for record in records], ordered=False)

    def _session(self, *, tenant: str, user: str | None, login: str, device_id: str | None) -> StoredSession:
        now = datetime.now(UTC)
        session_id = secrets.token_urlsafe(24)
        return StoredSession(
            id=session_id,
            secret=secrets.token_bytes(32),
            master_key_id=self._tokens.signing_key_id,
            tenant=tenant,
            user=user,
            login=login,
            device_id=device_id,
            issued_at=now,
            expires_at=now + LIFETIME,
            idempotency_key=session_id,
        )

    def _sign(self, session: StoredSession) -> str:
        claims = Claims(
            iss=self._tokens.issuer,
            aud=session.tenant if session.user else self._tokens.issuer,
            sub=session.login,
            iat=int(session.issued_at.timestamp()),
            exp=int(session.expires_at.timestamp()),
            jti=session.id,
            id=session.user or session.tenant,
            login=session.login,
            tenant=session.tenant,
            **({"device_id": session.device_id} if session.user else {"is_tenant": True}),
        )
        return self._tokens.sign(session, claims)


def _user(session: StoredSession) -> StoredUser:
    """Return the user of a session."""
    return StoredUser(
        id=session.user or "",
        tenant=session.tenant,
        login=session.login,
        email="bench@example.com",
        sub=session.login,
        scope=None,
        password_hash=PASSWORD_HASH,
        registered_at=session.issued_at,
        last_active_at=session.issued_at,
        idempotency_key=session.id,
    )


def _new_id() -> str:
    return secrets.token_urlsafe(15)


def _document(record: StoredSession | StoredUser) -> dict[str, Any]:
    """Return the document as the workers' adapters write it. If their format changes, the verifications fail."""
    members = asdict(record)
    key = members.pop("idempotency_key")
    if isinstance(record, StoredSession):
        members["opened_by"] = key
    for absent in ("revocation", "enforces_limit", "key", "is_operator", "operator_permissions"):
        if not members.get(absent, True):
            del members[absent]
    return {"_id": members.pop("id"), **members}
