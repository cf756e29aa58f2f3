"""A worker without broker and database: its operations on fakes, called as the consumer calls them."""

import json
import uuid
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, TypeVar

from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.claims import Claims
from shared.contracts.key import IssuedKey
from shared.contracts.key_create import KEY_CREATE
from shared.contracts.operation import Operation
from shared.contracts.operator_login import OPERATOR_LOGIN
from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.tenant_reset import TENANT_RESET
from shared.contracts.user import User
from shared.contracts.user_create import USER_CREATE
from shared.contracts.wire import MIN_PASSWORD_CHARS, WireModel
from tests.fakes import (
    ISSUER,
    MASTER_KEYS,
    THROTTLE,
    FakeActivity,
    FakeAttempts,
    FakeAudit,
    FakeClock,
    FakeDatabase,
    FakeEvents,
    FakeHasher,
    FakeRegistration,
    FakeSessions,
    FakeSweepLeases,
    FakeTenants,
    FakeTurns,
    FakeUsers,
    ports,
)
from tests.records import a_key
from worker.adapters.jwt_tokens import JwtTokens
from worker.domain.attempts import Throttle
from worker.domain.call import Call
from worker.domain.ports import Hasher, Tokens
from worker.domain.records import StoredSession
from worker.operations import HANDLERS

PASSWORD = "correct horse battery staple"

RequestT = TypeVar("RequestT", bound=WireModel)
ReplyT = TypeVar("ReplyT", bound=WireModel)


class InMemoryWorker:
    """A worker with fakes of all its ports. Requests pass through JSON and validation, as on the wire."""

    def __init__(
        self,
        *,
        users: FakeUsers | None = None,
        sessions: FakeSessions | None = None,
        hasher: Hasher | None = None,
        turns: FakeTurns | None = None,
        tokens: Tokens | None = None,
        registration: FakeRegistration | None = None,
        database: FakeDatabase | None = None,
        audit: FakeAudit | None = None,
        throttle: Throttle = THROTTLE,
        min_password_chars: int = MIN_PASSWORD_CHARS,
        max_sessions_per_user: int = 0,
    ) -> None:
        self.clock = FakeClock()
        self.tenants = FakeTenants()
        self.users = users or FakeUsers()
        self.sessions = sessions or FakeSessions()
        self.attempts = FakeAttempts()
        self.audit = audit or FakeAudit()
        self.turns = turns or FakeTurns()
        self.events = FakeEvents()
        self.activity = FakeActivity()
        self.sweep_leases = FakeSweepLeases()
        self.ports = ports(
            tenants=self.tenants,
            users=self.users,
            sessions=self.sessions,
            attempts=self.attempts,
            audit=self.audit,
            hasher=hasher or FakeHasher(),
            turns=self.turns,
            tokens=tokens or JwtTokens(MASTER_KEYS, ISSUER),
            events=self.events,
            activity=self.activity,
            sweep_leases=self.sweep_leases,
            database=database or FakeDatabase(),
            clock=self.clock,
            registration=registration or FakeRegistration(),
            throttle=throttle,
            min_password_chars=min_password_chars,
            max_sessions_per_user=max_sessions_per_user,
        )

    async def call(
        self, operation: Operation[RequestT, ReplyT], message_id: str | None = None, **fields: Any
    ) -> ReplyT:
        """Send a request and return the reply. Operation errors are raised."""
        return await self._handle(operation, Call(message_id or uuid.uuid4().hex), fields)

    async def call_as(self, service: str, operation: Operation[RequestT, ReplyT], **fields: Any) -> ReplyT:
        """Send a request as a service on the broker, without an edge."""
        return await self._handle(operation, Call(uuid.uuid4().hex, service=service), fields)

    async def redeliver(self, operation: Operation[RequestT, ReplyT], **fields: Any) -> ReplyT:
        """Send a request as redelivered after the loss of another worker."""
        return await self._handle(operation, Call(uuid.uuid4().hex, redelivered=True), fields)

    async def _handle(self, operation: Operation[RequestT, ReplyT], call: Call, fields: dict[str, Any]) -> ReplyT:
        request = operation.request.model_validate_json(json.dumps(fields))
        reply = await HANDLERS[operation.name](request, call, self.ports)
        assert isinstance(reply, operation.reply)
        return reply

    async def register(self, email: str = "shop@example.com") -> str:
        """Register a tenant and return its token."""
        return (await self.call(TENANT_REGISTER, email=email, password=PASSWORD)).token

    async def create(self, tenant_token: str, login: str = "ann", **fields: Any) -> User:
        """Create a user of the tenant, with the usual password."""
        wanted = {"email": f"{login}@example.com", "password": PASSWORD, **fields}
        return await self.call(USER_CREATE, tenantToken=tenant_token, login=login, **wanted)

    async def create_key(self, credential: str, message_id: str | None = None, **fields: Any) -> IssuedKey:
        """Create an API key, which may verify tokens and manage keys unless other permissions are given."""
        wanted = {"name": "gateway", "permissions": ["keys:read", "keys:write", "tokens:verify"], **fields}
        return await self.call(KEY_CREATE, message_id, tenantToken=credential, **wanted)

    async def login(self, tenant_token: str, login: str = "ann", **fields: Any) -> str:
        """Log the user in and return the token."""
        wanted = {"password": PASSWORD, "deviceId": "phone", **fields}
        return (await self.call(AUTH_LOGIN, tenantToken=tenant_token, login=login, **wanted)).access_token

    async def open_office(self) -> str:
        """Make the operators' tenant with the users olga and oskar, and return its token.

        Olga has all operator permissions, oskar has none.
        """
        office = await self.register("office@example.com")
        self.use_operator_tenant((await self.session_of(office)).tenant)
        await self.add_operator(office, "olga", OPERATOR_PERMISSIONS)
        await self.create(office, "oskar")
        return office

    def use_operator_tenant(self, tenant: str | None) -> None:
        """Go on as a worker with this setting."""
        self.ports = replace(self.ports, operator_tenant=tenant)

    async def add_operator(self, office: str, login: str, permissions: AbstractSet[Permission]) -> None:
        """Create a user of the operators' tenant with these operator permissions and the usual password."""
        await self.create(office, login)
        user = await self.users.find((await self.session_of(office)).tenant, login)
        assert user is not None
        await self.users.replace_operator_permissions(user, permissions, a_key())

    async def operator_login(self, office: str, login: str = "olga", **fields: Any) -> str:
        """Log the operator in and return the token."""
        wanted = {"password": PASSWORD, "deviceId": "laptop", **fields}
        return (await self.call(OPERATOR_LOGIN, tenantToken=office, login=login, **wanted)).access_token

    async def reset_code(self, operator_token: str, tenant: str) -> str:
        """Return a code with which the tenant can set its password."""
        return (await self.call(TENANT_RESET, tenantToken=operator_token, onTenant=tenant)).code

    async def verify(self, tenant_token: str, token: str) -> Claims:
        """Verify a user token and return its claims; an invalid token raises its error."""
        reply = await self.call(AUTH_VERIFY, checks=[{"tenantToken": tenant_token, "token": token}])
        return reply.answers[0].unwrap()

    async def session_of(self, token: str) -> StoredSession:
        """Return the stored session of a token."""
        session_id = self.ports.tokens.session_id(token)
        assert session_id is not None
        return (await self.sessions.find([session_id]))[session_id]
