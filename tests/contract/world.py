"""Workers on one real database, accounts to act on, and the stored state of these accounts."""

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

from shared.contracts import OPERATIONS
from shared.contracts.auth_login import AuthLoginReply
from shared.contracts.claims import Claims
from shared.contracts.events import RevocationReason
from shared.contracts.permissions import OPERATOR_PERMISSIONS
from shared.contracts.wire import WireModel
from tests import fakes
from tests.contract.stepped import SteppedDatabase
from tests.records import a_session, a_tenant, a_user
from tests.sweeping import sweep
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import StoredReset, StoredSession
from worker.domain.session_opening import open_tenant_session, open_user_session
from worker.domain.tenant_reset import code_digest
from worker.operations import HANDLERS
from worker.sweeper import GRACE

PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "another fine password"
#: A live code with which the tenant can set its password.
RESET_CODE = "a code of a reset"

#: A worker's view of the database: stopped at its steps, or over a connection of its own.
AnyDatabase = SteppedDatabase | MongoDatabase


@dataclass(frozen=True)
class SeenUser:
    """A stored user without the values that differ between worlds."""

    login: str
    email: str
    generation: int
    password: str
    has_unfinished_decision: bool


@dataclass(frozen=True)
class SeenTenant:
    """A stored tenant without the values that differ between worlds."""

    is_the_first: bool
    """False: another tenant with the same email."""
    generation: int
    password: str
    is_disabled: bool
    has_unfinished_decision: bool


@dataclass(frozen=True)
class Seen:
    """A tenant, its users and sessions as they are stored, and the revocation reason of each session."""

    tenants: list[SeenTenant]
    users: list[SeenUser]
    sessions: dict[str, RevocationReason | None]
    sessions_alive: int
    sessions_in_all: int


class World:
    """A tenant with two sessions, its user ann with two sessions, and a bystander with one."""

    def __init__(self, database: MongoDatabase, max_sessions_per_user: int = 0) -> None:
        self.tokens: dict[str, str] = {}
        self.operator_token = ""
        self._database = database
        self._clock = fakes.FakeClock()
        self._hasher = fakes.FakeHasher()
        self._max_sessions_per_user = max_sessions_per_user
        self._events = fakes.FakeEvents()
        number = uuid.uuid4().hex
        self._office = f"office-{number}"
        self._worker = self._on(database)
        self._tenant = a_tenant(id=number, email=f"{number}@example.com")

    @classmethod
    async def begin(cls, database: MongoDatabase, max_sessions_per_user: int = 0) -> "World":
        world = cls(database, max_sessions_per_user)
        password_hash = await world._hasher.hash(PASSWORD)
        world._tenant = replace(world._tenant, password_hash=password_hash)
        await world._worker.tenants.add(world._tenant)
        for name in ("shop", "shop, too"):
            world.tokens[name] = await open_tenant_session(world._tenant, Call(name), world._worker)
        opener = await world._session("shop")
        for login, devices in (("ann", ("phone", "laptop")), ("bystander", ("phone",))):
            user = a_user(
                id=uuid.uuid4().hex,
                tenant=world._tenant.id,
                login=login,
                email="old@example.com",
                password_hash=password_hash,
            )
            await world._worker.users.add(user)
            for device in devices:
                world._clock.advance(timedelta(milliseconds=1))
                _, world.tokens[f"{login}'s {device}"] = await open_user_session(
                    user, device, opener, Call(device), world._worker
                )
        world._clock.advance(timedelta(milliseconds=1))
        reset = StoredReset("reset", 0, world._clock.now() + timedelta(hours=1), (code_digest(RESET_CODE),))
        await world._worker.tenants.begin_reset(world._tenant, reset)
        world.operator_token = await world._log_in_operator()
        return world

    async def _log_in_operator(self) -> str:
        """Store an operator in an operators' tenant of its own, and return its token."""
        office = a_tenant(id=self._office, email=f"{self._office}@example.com")
        await self._worker.tenants.add(office)
        olga = a_user(
            id=f"olga of {office.id}", tenant=office.id, login="olga", operator_permissions=OPERATOR_PERMISSIONS
        )
        user = await self._worker.users.add(olga)
        session = a_session(id=f"{uuid.uuid4().hex}", tenant=office.id, user=user.id, login="olga", is_operator=True)
        await self._worker.sessions.add(session)
        claims = Claims(
            iss=fakes.ISSUER,
            aud=fakes.ISSUER,
            sub=user.id,
            iat=int(session.issued_at.timestamp()),
            exp=int(session.expires_at.timestamp()),
            jti=session.id,
            id=user.id,
            login="olga",
            tenant=office.id,
        )
        return self._worker.tokens.sign(session, claims)

    @property
    def tenant(self) -> str:
        """The tenant's id."""
        return self._tenant.id

    async def call(
        self, operation: str, message_id: str | None = None, database: AnyDatabase | None = None, /, **fields: Any
    ) -> WireModel:
        """Return the reply of a worker of this world, or of a worker that uses another view of its database."""
        worker = self._on(cast(MongoDatabase, database)) if database else self._worker
        request = OPERATIONS[operation].request.model_validate(fields)
        return await HANDLERS[operation](request, Call(message_id or uuid.uuid4().hex), worker)

    async def call_about_ann(self, name: str, **fields: Any) -> WireModel:
        """Send a request about ann with the tenant's second session."""
        return await self.call(name, tenantToken=self.tokens["shop, too"], login="ann", **fields)

    async def login(self, password: str = PASSWORD) -> None:
        """Log ann in once more."""
        reply = await self.call_about_ann("auth.login", password=password, deviceId="tablet")
        assert isinstance(reply, AuthLoginReply)
        self.tokens["ann's tablet"] = reply.access_token

    async def create(self) -> None:
        """Create ann again."""
        await self.call_about_ann("user.create", email="ann@example.com", password=PASSWORD)

    def session_id(self, name: str) -> str:
        session_id = self._worker.tokens.session_id(self.tokens[name])
        assert session_id is not None
        return session_id

    @property
    def email(self) -> str:
        """The tenant's email."""
        return self._tenant.email

    async def _session(self, name: str) -> StoredSession:
        session_id = self.session_id(name)
        return (await self._worker.sessions.find([session_id]))[session_id]

    async def sweep(self, database: MongoDatabase | None = None) -> None:
        """Run a sweep as any worker does, some seconds after a crash."""
        self._clock.advance(GRACE + timedelta(milliseconds=1))
        await sweep(self._on(database) if database else self._worker)

    async def seen(self) -> Seen:
        users, documents = await self._documents("users"), await self._documents("sessions")
        sessions = await self._worker.sessions.find([self.session_id(name) for name in self.tokens])
        revocations = {name: sessions[self.session_id(name)].revocation for name in self.tokens}
        tenants = await self._database.collection("tenants").find({"email": self.email}).to_list(None)
        return Seen(
            [
                SeenTenant(
                    tenant["_id"] == self._tenant.id,
                    tenant["generation"],
                    await self._password_of(tenant),
                    "disabled_at" in tenant,
                    "ending" in tenant,
                )
                for tenant in tenants
            ],
            [
                SeenUser(
                    user["login"],
                    user["email"],
                    user["generation"],
                    await self._password_of(user),
                    has_unfinished_decision="ending" in user,
                )
                for user in sorted(users, key=lambda user: str(user["login"]))
            ],
            {name: revocation.reason if revocation else None for name, revocation in revocations.items()},
            sum("revocation" not in session for session in documents),
            len(documents),
        )

    @property
    def announced(self) -> set[str]:
        """Return the ids of the tenant's sessions whose revocation was announced."""
        return {session.id for session in self._events.announced if session.tenant == self._tenant.id}

    async def announced_all_revocations(self) -> bool:
        """Return whether exactly the revoked sessions were announced."""
        ended = {session["_id"] for session in await self._documents("sessions") if "revocation" in session}
        return ended == self.announced

    async def _password_of(self, document: dict[str, Any]) -> str:
        return PASSWORD if await self._hasher.verify(document["password_hash"], PASSWORD) else NEW_PASSWORD

    async def _documents(self, collection: str) -> list[dict[str, Any]]:
        found = self._database.collection(collection).find({"tenant": self._tenant.id})
        return await found.to_list(None)

    def _on(self, database: MongoDatabase) -> Ports:
        ports = fakes.ports(
            tenants=MongoTenants(database),
            users=MongoUsers(database),
            sessions=MongoSessions(database),
            hasher=self._hasher,
            events=self._events,
            clock=self._clock,
            max_sessions_per_user=self._max_sessions_per_user,
        )
        return replace(ports, operator_tenant=self._office)
