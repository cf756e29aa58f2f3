"""Authentication of callers: any credential becomes a `Principal` with its permissions here, and nowhere else.

Credentials are tenant tokens, API keys, access tokens and operators' tokens. Each operation declares the permission
that it needs in its contract, and `principal_of` checks it.
"""

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from shared.contracts.address import client_key
from shared.contracts.api_key import api_key_id
from shared.contracts.errors import (
    FieldProblem,
    Forbidden,
    InvalidRequest,
    InvalidTenantToken,
    InvalidToken,
    TenantNotFound,
    Throttled,
)
from shared.contracts.operation import Operation, TenantRequest
from shared.contracts.permissions import (
    INSTALLATION_PERMISSIONS,
    OPERATOR_PERMISSIONS,
    TENANT_PERMISSIONS,
    Permission,
    known_permissions,
)
from shared.contracts.principal_get import CredentialKind
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import KeySecret, SessionKind, StoredKey, StoredSession
from worker.domain.tokens import checked, note_acting, sessions_of

AnyOperation = Operation[Any, Any]
Address = IPv4Address | IPv6Address
#: The sessions of a request's tokens, as `sessions_of` returns them.
Sessions = Mapping[str, StoredSession]


class WrongSecret(InvalidToken):
    """A key exists and is live, but the credential is none of its secrets."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller of a request."""

    tenant: str
    """The id of the tenant that it acts on."""
    permissions: frozenset[Permission]
    credential: CredentialKind
    expires: int
    """When its credential expires, in seconds since the epoch."""
    session: StoredSession = field(repr=False)
    """The session that its credential belongs to. An operator's session belongs to the operators' tenant."""
    actor: str | None = None
    """The name of the caller in the audit trail: `key:<id>`, `client:<id of the key>` or `operator:<login>`. None: the
    tenant itself."""


async def principal_of(
    operation: AnyOperation, request: TenantRequest, call: Call, ports: Ports, sessions: Sessions | None = None
) -> Principal:
    """Authenticate the caller of a request, and check that it may call this operation.

    `sessions` saves a query if the request's other tokens were looked up together with its credential. Raises
    `InvalidTenantToken` for a credential that is not valid, `Forbidden` for one that does not allow the operation,
    `Throttled` after too many wrong secrets of API keys, and `InvalidRequest` and `TenantNotFound` for an operator that
    names no tenant.
    """
    found = await sessions_of([request.tenant_token], ports) if sessions is None else sessions
    principal = authenticated(request.tenant_token, found, call.client(request.caller_address), ports, call.service)
    if principal.session.kind is SessionKind.OPERATOR:
        principal = await _operator(principal, operation, request.on_tenant, ports)
    elif request.on_tenant not in (None, principal.tenant):
        raise Forbidden("only operators may act on another tenant")
    check_permission(operation, principal)
    call.audit_facts.actor = principal.actor
    if principal.credential is CredentialKind.OPERATOR_TOKEN:
        call.audit_facts.operators_tenant = principal.session.tenant
    return principal


async def principal_in_turn(operation: AnyOperation, request: TenantRequest, call: Call, ports: Ports) -> Principal:
    """Return the caller of a request, as `principal_of`, when it is its tenant's turn on the password lane.

    Raises `Overloaded` and `DeadlineExceeded`, too.
    """
    principal = await principal_of(operation, request, call, ports)
    await ports.turns.enter(principal.tenant, call)
    # The request may have waited for seconds. An operator that was dismissed meanwhile must set no password.
    if principal.credential is CredentialKind.OPERATOR_TOKEN and not await still_holds(principal, ports):
        raise Forbidden("your session or your permissions have ended meanwhile")
    return principal


def authenticated(
    credential: str, sessions: Sessions, address: Address | None, ports: Ports, service: str | None = None
) -> Principal:
    """Return the caller that a credential authenticates.

    An operator's permissions are not read yet: `principal_of` reads them. `address` is None if it is not known, and
    `service` if an edge sent the request. Raises `InvalidTenantToken`, `Forbidden` for the address, and `Throttled`
    after too many wrong secrets of API keys.
    """
    session = sessions.get(credential)
    if session is None or session.revocation is not None:
        raise InvalidTenantToken
    try:
        principal = _principal(credential, session, ports)
    except WrongSecret:
        origin = service if address is None else client_key(address)
        if wait := ports.key_guesses.wrong(origin, ports.clock.now()):
            raise Throttled(retry_after_seconds=max(math.ceil(wait.total_seconds()), 1)) from None
        raise InvalidTenantToken from None
    except InvalidToken:
        raise InvalidTenantToken from None
    if session.key is not None:
        _check_network(session.key, address)
        ports.activity.used(session.id, ports.clock.now())
    note_acting(principal.tenant)
    return principal


async def still_holds(principal: Principal, ports: Ports) -> bool:
    """Return whether the caller still has its session and, as an operator, its permissions.

    Sees every acknowledged revocation and withdrawal. For requests that give power which outlives the caller's.
    """
    session = (await ports.sessions.find([principal.session.id])).get(principal.session.id)
    if session is None or session.revocation is not None:
        return False
    if principal.credential is not CredentialKind.OPERATOR_TOKEN:
        return True
    user = await ports.users.find(session.tenant, session.login)
    return user is not None and user.id == session.user and principal.permissions <= user.operator_permissions


def is_live(credential: str, session: StoredSession, ports: Ports) -> bool:
    """Return whether the credential of this session is valid, wherever it is used from."""
    try:
        _principal(credential, session, ports)
    except InvalidToken:
        return False
    return session.revocation is None


def check_permission(operation: AnyOperation, principal: Principal) -> None:
    """Raise `Forbidden` unless the caller has the permissions that the operation needs."""
    for needed in (operation.permission, operation.also_needs, operation.of_operator):
        if needed is not None and needed not in principal.permissions:
            raise Forbidden.without(needed)


def secret_digest(api_key: str) -> bytes:
    """Return what is stored of an API key. It holds 256 random bits, so it needs no slow hash."""
    return hashlib.sha256(api_key.encode()).digest()


def _principal(credential: str, session: StoredSession, ports: Ports) -> Principal:
    """Return the caller, or raise `InvalidToken`."""
    key = session.key
    if key is not None and api_key_id(credential) is not None:
        if ports.clock.now() >= session.expires_at:
            raise InvalidToken
        secret = _live_secret(credential, key, ports.clock.now())
        return Principal(
            session.tenant,
            key.permissions & TENANT_PERMISSIONS,
            CredentialKind.API_KEY,
            int(min(session.expires_at, secret.expires_at or session.expires_at).timestamp()),
            session,
            f"key:{session.id}",
        )
    claims = checked(credential, session, ports)
    match session.kind:
        case SessionKind.TENANT:
            return Principal(session.tenant, TENANT_PERMISSIONS, CredentialKind.TENANT_TOKEN, claims.exp, session)
        case SessionKind.KEY if key is not None:
            granted = known_permissions(claims.scope.split()) if isinstance(claims.scope, str) else frozenset()
            # An access token never allows more than its key does now.
            allowed = granted & key.permissions & TENANT_PERMISSIONS
            return Principal(
                session.tenant, allowed, CredentialKind.ACCESS_TOKEN, claims.exp, session, f"client:{session.id}"
            )
        case SessionKind.OPERATOR:
            kind = CredentialKind.OPERATOR_TOKEN
            return Principal(session.tenant, frozenset(), kind, claims.exp, session, f"operator:{session.login}")
        case _:
            raise InvalidToken


def _live_secret(credential: str, key: StoredKey, now: datetime) -> KeySecret:
    """Return the secret of the key that the credential is, or raise `WrongSecret`."""
    digest = secret_digest(credential)
    live = [secret for secret in key.secrets if secret.is_live(now)]
    # Every live secret is compared, each in constant time, also after a match.
    matching = [secret for secret in live if hmac.compare_digest(digest, secret.digest)]
    if not matching:
        raise WrongSecret
    return matching[0]


def _check_network(key: StoredKey, address: Address | None) -> None:
    if key.networks and address is None:  # from a service, whose address is not known
        raise Forbidden("an API key with networks may only be used over HTTP")
    if key.networks and not any(address in ip_network(each) for each in key.networks):
        raise Forbidden("the API key may not be used from this address")


async def _operator(principal: Principal, operation: AnyOperation, on_tenant: str | None, ports: Ports) -> Principal:
    """Return the operator with the permissions that its user has now, acting on this tenant.

    Sessions are revoked some moments after the decision that ends them, so the decisions about the user and its
    tenant are read here, too.
    """
    session = principal.session
    user = await ports.users.find(session.tenant, session.login)
    if user is None or user.id != session.user or user.generation > session.generation:
        raise InvalidTenantToken
    if session.tenant != ports.operator_tenant:
        raise InvalidTenantToken
    if not await ports.tenants.admits(session.tenant, session.tenant_generation):
        raise InvalidTenantToken
    acting = replace(principal, permissions=user.operator_permissions & OPERATOR_PERMISSIONS)
    # Before the tenant is looked up: an operator without the permission must not find out which tenants exist.
    check_permission(operation, acting)
    if on_tenant is None:
        if operation.permission is None or operation.permission in INSTALLATION_PERMISSIONS:
            return acting
        problem = FieldProblem(
            field="onTenant", message="must be the id of the tenant to act on; over HTTP: header X-Tenant-ID"
        )
        raise InvalidRequest(problems=[problem])
    if not acting.permissions:  # an operation that needs none
        raise Forbidden("only operators may act on another tenant")
    if await ports.tenants.find(on_tenant) is None:
        raise TenantNotFound
    note_acting(on_tenant)
    return replace(acting, tenant=on_tenant)
