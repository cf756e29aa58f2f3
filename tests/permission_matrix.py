"""The matrix of permissions: what each kind of credential may call, from the contracts.

The rows of an operation follow from its permission alone, so that a new operation has its rows at once. The tests send
them to operations in memory, to real workers over AMQP, and to a real edge over HTTP.
"""

import hashlib
import secrets
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from shared.contracts import OPERATIONS
from shared.contracts.api_key import ID_CHARS, base62, new_api_key
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.claims import Claims
from shared.contracts.errors import ErrorCode
from shared.contracts.events import RevocationReason
from shared.contracts.key_create import KEY_CREATE
from shared.contracts.operation import Operation
from shared.contracts.operator_login import OPERATOR_LOGIN
from shared.contracts.operator_update import OPERATOR_UPDATE
from shared.contracts.permissions import (
    INSTALLATION_PERMISSIONS,
    OPERATOR_PERMISSIONS,
    TENANT_PERMISSIONS,
    Permission,
)
from tests.records import a_tenant, a_user
from tests.requests import Accounts
from worker.domain.ports import Sessions, Tenants, Tokens, Users
from worker.domain.records import KeySecret, Revocation, StoredKey, StoredSession, StoredTenant, StoredUser

PASSWORD = "correct horse battery staple"
DAY = timedelta(days=1)
#: How long ago expired credentials expired: the database deletes them after a day.
HOUR = timedelta(hours=1)

#: The operations that a permission protects.
PROTECTED = {
    name: operation
    for name, operation in OPERATIONS.items()
    # It takes only a credential of the operators' tenant, and an operator's password: see test_operator_login.
    if operation.permission is not None and operation is not OPERATOR_LOGIN
}

#: Routes outside the OpenAPI document, and the route that each repeats.
ALIASES = {"/auth/": "/auth"}


class Outcome(Enum):
    """The answer to a request with a credential."""

    ALLOWED = "the operation is done"
    FORBIDDEN = "403 `forbidden`, which names the missing permission"
    FORBIDDEN_ALSO = "403 `forbidden`, which names the second permission that the operation needs"
    ELSEWHERE = "403 `forbidden`: the credential is not valid for this tenant, network or operator"
    INVALID = "401 `invalid_tenant_token`"
    NO_TENANT = "422 `invalid_request`: the operator does not name a tenant"
    OWN_TENANT = "whatever the caller's own tenant gets; nothing of the shop"


@dataclass(frozen=True)
class Stores:
    """Where credentials are stored, and what signs them."""

    tenants: Tenants
    users: Users
    sessions: Sessions
    tokens: Tokens
    password_hash: str
    """The hash of `PASSWORD`."""
    now: datetime
    operators: str
    """The id of the operators' tenant."""


@dataclass(frozen=True)
class Answer:
    """The answer to a request: an error code with its details, or none."""

    code: str | None
    permission: str | None
    text: str
    """The whole answer."""


@dataclass(frozen=True)
class Presented:
    """A credential, and the tenant that its request names."""

    credential: str
    on_tenant: str | None = None


class World:
    """A shop with its user ann, who is logged in, another tenant, and the tenant of the operators."""

    def __init__(self, stores: Stores, shop: StoredTenant, bank: StoredTenant, ann: StoredUser) -> None:
        self.stores, self.shop, self.bank, self.ann = stores, shop, bank, ann

    @classmethod
    async def begin(cls, stores: Stores) -> "World":
        shop, bank = (
            a_tenant(id=uuid.uuid4().hex, email=f"{uuid.uuid4().hex}@example.com", password_hash=stores.password_hash)
            for _ in range(2)
        )
        for tenant in (shop, bank):
            await stores.tenants.add(tenant)
        return cls(stores, shop, bank, await _user(stores, shop.id, "ann"))

    async def accounts(self, credential: str) -> Accounts:
        """Return the subjects of requests of this caller: a session of ann and an API key for each."""
        session, token = await self.session(self.shop.id, self.ann)
        key, _ = await self.key({Permission.KEYS_WRITE})
        colleague = await _user(self.stores, self.stores.operators, f"colleague-{uuid.uuid4().hex}")
        return Accounts(
            self.shop.email,
            PASSWORD,
            credential,
            token,
            session.id,
            api_key=key.id,
            operator_token=credential,
            colleague=colleague.login,
            tenant=self.shop.id,
        )

    async def session(self, tenant: str, user: StoredUser | None = None, **changes: Any) -> tuple[StoredSession, str]:
        """Store a session of a user, or of the tenant itself, and return it with its token."""
        login = user.login if user else "tenant:shop@example.com"
        session = self._a_session(tenant, user.id if user else None, login, **changes)
        await self.stores.sessions.add(session)
        return session, self._token(session)

    async def key(
        self, permissions: Collection[Permission], tenant: str | None = None, **changes: Any
    ) -> tuple[StoredSession, str]:
        """Store an API key of the shop, or of another tenant, and return it with its text."""
        key_id = base62(secrets.randbits(128), ID_CHARS)
        text = new_api_key(key_id)
        secret = KeySecret(hashlib.sha256(text.encode()).digest(), uuid.uuid4().hex)
        of_key = {name: changes.pop(name) for name in ("networks", "secrets") if name in changes}
        key = replace(StoredKey("gateway", frozenset(permissions), (secret,)), **of_key)
        session = self._a_session(
            tenant or self.shop.id, None, "tenant:shop@example.com", id=key_id, key=key, **changes
        )
        await self.stores.sessions.add(session)
        return session, text

    def access_token(self, key: StoredSession, scope: Collection[Permission], lasts: timedelta = DAY) -> str:
        """Return an access token of a key with these permissions."""
        expires_at = self.stores.now + lasts
        return self._token(key, scope=" ".join(sorted(scope)), client_id=key.id, exp=int(expires_at.timestamp()))

    async def operator(self, permissions: Collection[Permission], **changes: Any) -> str:
        """Store an operator with these permissions, and return its token."""
        login = f"operator-{uuid.uuid4().hex}"
        user = await _user(self.stores, self.stores.operators, login, operator_permissions=frozenset(permissions))
        return (await self.session(user.tenant, user, is_operator=True, **changes))[1]

    def _a_session(self, tenant: str, user: str | None, login: str, **changes: Any) -> StoredSession:
        session = StoredSession(
            id=secrets.token_urlsafe(24),
            secret=secrets.token_bytes(32),
            master_key_id=self.stores.tokens.signing_key_id,
            tenant=tenant,
            user=user,
            login=login,
            device_id="phone" if user else None,
            issued_at=self.stores.now - timedelta(minutes=1),
            expires_at=self.stores.now + DAY,
            idempotency_key=uuid.uuid4().hex,
        )
        return replace(session, **changes)

    def _token(self, session: StoredSession, **changes: Any) -> str:
        subject = session.user or session.tenant
        issuer = self.stores.tokens.issuer
        members = {
            "iss": issuer,
            "aud": session.tenant if session.user and not session.is_operator else issuer,
            "sub": subject,
            "iat": int(session.issued_at.timestamp()),
            "exp": int(session.expires_at.timestamp()),
            "jti": session.id,
            "id": subject,
            "login": session.login,
            "tenant": session.tenant,
        }
        return self.stores.tokens.sign(session, Claims(**members | changes))


async def _user(stores: Stores, tenant: str, login: str, **attributes: Any) -> StoredUser:
    password_hash, user_id = stores.password_hash, uuid.uuid4().hex
    return await stores.users.add(
        a_user(id=user_id, tenant=tenant, login=login, password_hash=password_hash, **attributes)
    )


Present = Callable[[World, Permission], Awaitable[Presented]]


async def _tenant_token(world: World, _needed: Permission) -> Presented:
    return Presented((await world.session(world.shop.id))[1])


async def _tenant_token_that_names_its_tenant(world: World, _needed: Permission) -> Presented:
    return Presented((await world.session(world.shop.id))[1], world.shop.id)


async def _key_with_only_it(world: World, needed: Permission) -> Presented:
    return Presented((await world.key({needed}))[1])


async def _access_token_with_only_it(world: World, needed: Permission) -> Presented:
    key, _ = await world.key(TENANT_PERMISSIONS)
    return Presented(world.access_token(key, {needed}))


async def _operator_with_only_it(world: World, needed: Permission) -> Presented:
    on_tenant = None if needed in INSTALLATION_PERMISSIONS else world.shop.id
    return Presented(await world.operator({needed}), on_tenant)


async def _key_with_every_other(world: World, needed: Permission) -> Presented:
    return Presented((await world.key(TENANT_PERMISSIONS - {needed}))[1])


async def key_with_everything(world: World, _needed: Permission) -> Presented:
    return Presented((await world.key(frozenset(Permission)))[1])


async def _access_token_with_every_other(world: World, needed: Permission) -> Presented:
    key, _ = await world.key(TENANT_PERMISSIONS)
    return Presented(world.access_token(key, frozenset(Permission) - {needed}))


async def _access_token_of_a_key_without_it(world: World, needed: Permission) -> Presented:
    key, _ = await world.key(TENANT_PERMISSIONS - {needed})
    return Presented(world.access_token(key, frozenset(Permission)))


async def access_token_with_everything(world: World, _needed: Permission) -> Presented:
    key, _ = await world.key(frozenset(Permission))
    return Presented(world.access_token(key, frozenset(Permission)))


async def _operator_with_every_other(world: World, needed: Permission) -> Presented:
    return Presented(await world.operator(frozenset(Permission) - {needed}), world.shop.id)


async def operator_with_everything(world: World, _needed: Permission) -> Presented:
    return Presented(await world.operator(frozenset(Permission)), world.shop.id)


async def operator_without_a_permission(world: World, _needed: Permission) -> Presented:
    return Presented(await world.operator(()), world.shop.id)


async def operator_without_a_permission_that_names_an_unknown_tenant(world: World, _needed: Permission) -> Presented:
    return Presented(await world.operator(()), uuid.uuid4().hex)


async def _operator_without_a_permission_that_names_no_tenant(world: World, _needed: Permission) -> Presented:
    return Presented(await world.operator(()))


async def _operator_that_names_no_tenant(world: World, _needed: Permission) -> Presented:
    return Presented(await world.operator(frozenset(Permission)))


async def _tenant_token_of_another(world: World, _needed: Permission) -> Presented:
    return Presented((await world.session(world.bank.id))[1])


async def _key_of_another(world: World, _needed: Permission) -> Presented:
    return Presented((await world.key(TENANT_PERMISSIONS, world.bank.id))[1])


async def _tenant_token_of_another_that_names_the_shop(world: World, needed: Permission) -> Presented:
    return replace(await _tenant_token_of_another(world, needed), on_tenant=world.shop.id)


async def _key_of_another_that_names_the_shop(world: World, needed: Permission) -> Presented:
    return replace(await _key_of_another(world, needed), on_tenant=world.shop.id)


async def _access_token_of_another_that_names_the_shop(world: World, _needed: Permission) -> Presented:
    key, _ = await world.key(TENANT_PERMISSIONS, world.bank.id)
    return Presented(world.access_token(key, TENANT_PERMISSIONS), world.shop.id)


async def _garbage(_world: World, _needed: Permission) -> Presented:
    return Presented("a.b.c")


async def _user_token(world: World, _needed: Permission) -> Presented:
    return Presented((await world.session(world.shop.id, world.ann))[1])


async def _expired_tenant_token(world: World, _needed: Permission) -> Presented:
    return Presented((await world.session(world.shop.id, expires_at=world.stores.now - HOUR))[1])


async def _revoked_tenant_token(world: World, _needed: Permission) -> Presented:
    session, token = await world.session(world.shop.id)
    await _revoke(world, session)
    return Presented(token)


async def _key_with_a_wrong_secret(world: World, _needed: Permission) -> Presented:
    session, _ = await world.key(TENANT_PERMISSIONS)
    return Presented(new_api_key(session.id))


async def _unknown_key(_world: World, _needed: Permission) -> Presented:
    return Presented(new_api_key(base62(secrets.randbits(128), ID_CHARS)))


async def _expired_key(world: World, _needed: Permission) -> Presented:
    return Presented((await world.key(TENANT_PERMISSIONS, expires_at=world.stores.now - HOUR))[1])


async def _revoked_key(world: World, _needed: Permission) -> Presented:
    session, text = await world.key(TENANT_PERMISSIONS)
    await _revoke(world, session)
    return Presented(text)


async def _key_from_another_network(world: World, _needed: Permission) -> Presented:
    return Presented((await world.key(TENANT_PERMISSIONS, networks=("203.0.113.0/24",)))[1])


async def _expired_access_token(world: World, _needed: Permission) -> Presented:
    key, _ = await world.key(TENANT_PERMISSIONS)
    return Presented(world.access_token(key, TENANT_PERMISSIONS, -HOUR))


async def _access_token_of_a_revoked_key(world: World, _needed: Permission) -> Presented:
    key, _ = await world.key(TENANT_PERMISSIONS)
    await _revoke(world, key)
    return Presented(world.access_token(key, TENANT_PERMISSIONS))


async def _expired_operator(world: World, _needed: Permission) -> Presented:
    expired = world.stores.now - HOUR
    return Presented(await world.operator(frozenset(Permission), expires_at=expired), world.shop.id)


async def operator_of_an_older_generation(world: World, _needed: Permission) -> Presented:
    """Its password was changed since it logged in."""
    login = f"operator-{uuid.uuid4().hex}"
    user = await _user(
        world.stores, world.stores.operators, login, operator_permissions=frozenset(Permission), generation=1
    )
    return Presented((await world.session(user.tenant, user, is_operator=True))[1], world.shop.id)


async def _revoke(world: World, session: StoredSession) -> None:
    await world.stores.sessions.revoke(session, Revocation(world.stores.now, RevocationReason.REVOKED))


Rows = dict[Present, Outcome]

#: Credentials that are not valid for any operation.
_NEVER: Rows = {
    _garbage: Outcome.INVALID,
    _user_token: Outcome.INVALID,
    _expired_tenant_token: Outcome.INVALID,
    _revoked_tenant_token: Outcome.INVALID,
    _key_with_a_wrong_secret: Outcome.INVALID,
    _unknown_key: Outcome.INVALID,
    _expired_key: Outcome.INVALID,
    _revoked_key: Outcome.INVALID,
    _key_from_another_network: Outcome.ELSEWHERE,
    _expired_access_token: Outcome.INVALID,
    _access_token_of_a_revoked_key: Outcome.INVALID,
    _expired_operator: Outcome.INVALID,
    operator_of_an_older_generation: Outcome.INVALID,
}


def rows(operation: Operation[Any, Any], *, takes_tenant: bool) -> Rows:
    """Return the expected outcome for each kind of credential.

    `takes_tenant`: the request can name the tenant to act on.
    """
    needed = operation.permission
    assert needed is not None
    found: Rows = {
        **_NEVER,
        _key_with_every_other: Outcome.FORBIDDEN,
        _access_token_with_every_other: Outcome.FORBIDDEN,
        _access_token_of_a_key_without_it: Outcome.FORBIDDEN,
        operator_without_a_permission: Outcome.FORBIDDEN,
        operator_without_a_permission_that_names_an_unknown_tenant: Outcome.FORBIDDEN,
        _operator_without_a_permission_that_names_no_tenant: Outcome.FORBIDDEN,
        _operator_with_every_other: Outcome.FORBIDDEN,
    }
    if needed in TENANT_PERMISSIONS:
        found |= {
            _tenant_token: Outcome.ALLOWED,
            _key_with_only_it: Outcome.ALLOWED,
            _access_token_with_only_it: Outcome.ALLOWED,
            _tenant_token_of_another: Outcome.OWN_TENANT,
            _key_of_another: Outcome.OWN_TENANT,
        }
        if takes_tenant:
            found |= {
                _tenant_token_that_names_its_tenant: Outcome.ALLOWED,
                _tenant_token_of_another_that_names_the_shop: Outcome.ELSEWHERE,
                _key_of_another_that_names_the_shop: Outcome.ELSEWHERE,
                _access_token_of_another_that_names_the_shop: Outcome.ELSEWHERE,
            }
    else:
        found |= {
            _tenant_token: Outcome.FORBIDDEN,
            key_with_everything: Outcome.FORBIDDEN,
            access_token_with_everything: Outcome.FORBIDDEN,
        }
    if needed in OPERATOR_PERMISSIONS:
        found[_operator_with_only_it] = Outcome.FORBIDDEN_ALSO if operation.also_needs else Outcome.ALLOWED
        if operation.also_needs:
            found[_operator_that_names_no_tenant] = Outcome.ALLOWED
        if needed not in INSTALLATION_PERMISSIONS:
            found[_operator_that_names_no_tenant] = Outcome.NO_TENANT
    else:
        found[operator_with_everything] = Outcome.FORBIDDEN
    if operation is AUTH_VERIFY:
        # No operator may verify users' tokens, so a verification does not read the operator's user.
        found[operator_of_an_older_generation] = Outcome.FORBIDDEN
    return found


def title(present: Present) -> str:
    """Return the name of a kind of credential, for test ids."""
    return present.__name__.strip("_").replace("_", " ")


def request_of(operation: Operation[Any, Any], accounts: Accounts, on_tenant: str | None) -> dict[str, Any]:
    """Return a request that succeeds if the caller has the operation's permission."""
    request = accounts.request(operation.name)
    if operation is KEY_CREATE:  # whose caller needs the permissions of the new key, too
        request["permissions"] = [Permission.KEYS_WRITE]
    if operation is OPERATOR_UPDATE:  # likewise
        request["permissions"] = [Permission.OPERATORS_WRITE]
    if on_tenant is not None and operation is not AUTH_VERIFY:
        request["onTenant"] = on_tenant
    return request


def check(outcome: Outcome, answer: Answer, operation: Operation[Any, Any], world: World) -> None:
    """Fail unless this is the expected answer."""
    match outcome:
        case Outcome.ALLOWED:
            expected: object = (None, None)
        case Outcome.FORBIDDEN:
            expected = (ErrorCode.FORBIDDEN, operation.permission)
        case Outcome.FORBIDDEN_ALSO:
            expected = (ErrorCode.FORBIDDEN, operation.also_needs)
        case Outcome.ELSEWHERE:
            expected = (ErrorCode.FORBIDDEN, None)
        case Outcome.INVALID:
            expected = (ErrorCode.INVALID_TENANT_TOKEN, None)
        case Outcome.NO_TENANT:
            expected = (ErrorCode.INVALID_REQUEST, None)
        case Outcome.OWN_TENANT:
            assert answer.code not in {ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE}, answer.text
            assert world.shop.id not in answer.text
            assert world.ann.id not in answer.text
            return
    assert (answer.code, answer.permission) == expected, answer.text
