"""Workers on one real database, with accounts to act on, and what there is to see of them."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from shared.contracts import OPERATIONS
from shared.contracts.auth_login import AuthLoginReply
from shared.contracts.events import RevocationReason
from shared.contracts.wire import WireModel
from tests import fakes
from tests.contract.stepped import SteppedDatabase
from tests.records import a_tenant, a_user
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.operations import HANDLERS
from worker.operations.opening import open_tenant_session, open_user_session
from worker.ports import Call, Ports
from worker.sweeper import GRACE, sweep

PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "another fine password"


@dataclass(frozen=True)
class SeenUser:
    """A user as it is stored, but for what is different in each world."""

    login: str
    email: str
    generation: int
    password: str
    is_ending: bool


@dataclass(frozen=True)
class Seen:
    """All users and sessions of a tenant as they are stored, and why which session has ended."""

    users: list[SeenUser]
    sessions: dict[str, RevocationReason | None]
    sessions_in_all: int


class World:
    """A tenant with two sessions, its user ann with two sessions, and a bystander with one."""

    def __init__(self, database: MongoDatabase, max_sessions_per_user: int = 0) -> None:
        self.tokens: dict[str, str] = {}
        self._database = database
        self._clock = fakes.FakeClock()
        self._hasher = fakes.FakeHasher()
        self._max_sessions_per_user = max_sessions_per_user
        self._events = fakes.FakeEvents()
        self._worker = self._on(database)
        self._tenant = a_tenant(id=uuid.uuid4().hex)

    @classmethod
    async def begin(cls, database: MongoDatabase, max_sessions_per_user: int = 0) -> "World":
        world = cls(database, max_sessions_per_user)
        for name in ("shop", "shop, too"):
            world.tokens[name] = await open_tenant_session(world._tenant, Call(name), world._worker)
        password_hash = await world._hasher.hash(PASSWORD)
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
                    user, device, Call(device), world._worker
                )
        world._clock.advance(timedelta(milliseconds=1))
        return world

    async def call(
        self, name: str, message_id: str | None = None, database: SteppedDatabase | None = None, **fields: Any
    ) -> WireModel:
        """What a request is answered, by a worker of this world or one that uses another view of its database."""
        worker = self._on(cast(MongoDatabase, database)) if database else self._worker
        request = OPERATIONS[name].request.model_validate(fields)
        return await HANDLERS[name](request, Call(message_id or uuid.uuid4().hex), worker)

    async def call_about_ann(self, name: str, **fields: Any) -> WireModel:
        """What another request about ann is answered, by the tenant's second session."""
        return await self.call(name, tenantToken=self.tokens["shop, too"], login="ann", **fields)

    async def login(self, password: str = PASSWORD) -> None:
        """Ann logs in once more."""
        reply = await self.call_about_ann("auth.login", password=password, deviceId="tablet")
        assert isinstance(reply, AuthLoginReply)
        self.tokens["ann's tablet"] = reply.access_token

    async def create(self) -> None:
        """There is an ann again."""
        await self.call_about_ann("user.create", email="ann@example.com", password=PASSWORD)

    def session_id(self, name: str) -> str:
        session_id = self._worker.tokens.session_id(self.tokens[name])
        assert session_id is not None
        return session_id

    async def sweep(self) -> None:
        """What any worker does every few seconds, when a crash was some seconds ago."""
        self._clock.advance(GRACE + timedelta(milliseconds=1))
        await sweep(self._worker)

    async def seen(self) -> Seen:
        users = await self._documents("users")
        sessions = await self._worker.sessions.find([self.session_id(name) for name in self.tokens])
        revocations = {name: sessions[self.session_id(name)].revocation for name in self.tokens}
        return Seen(
            [
                SeenUser(
                    user["login"],
                    user["email"],
                    user["generation"],
                    PASSWORD if await self._hasher.verify(user["password_hash"], PASSWORD) else NEW_PASSWORD,
                    is_ending="ending" in user,
                )
                for user in sorted(users, key=lambda user: str(user["login"]))
            ],
            {name: revocation.reason if revocation else None for name, revocation in revocations.items()},
            len(await self._documents("sessions")),
        )

    async def announced_what_ended(self) -> bool:
        """Whether subscribers were told of all sessions that ended, and of no other."""
        ended = {session["_id"] for session in await self._documents("sessions") if "revocation" in session}
        return ended == {session.id for session in self._events.announced if session.tenant == self._tenant.id}

    async def _documents(self, collection: str) -> list[dict[str, Any]]:
        found = self._database.collection(collection).find({"tenant": self._tenant.id})
        return await found.to_list(None)

    def _on(self, database: MongoDatabase) -> Ports:
        return fakes.ports(
            tenants=MongoTenants(database),
            users=MongoUsers(database),
            sessions=MongoSessions(database),
            hasher=self._hasher,
            events=self._events,
            clock=self._clock,
            max_sessions_per_user=self._max_sessions_per_user,
        )
