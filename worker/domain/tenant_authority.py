"""Authority over a tenant.

The tenant itself proves it by token and password, an operator by its token, and others by the registration key.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from shared.contracts.address import ClientAddress
from shared.contracts.authority import AuthorityRequest, OperatorAuthority
from shared.contracts.errors import Forbidden, InvalidCredentials, InvalidTenantToken, InvalidToken, TenantNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done, TenantRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import AnyOperation, principal_of
from worker.domain.records import IdempotencyKey, StoredTenant, TenantRevocation
from worker.domain.session_revocation import revoke_tenant_sessions
from worker.domain.throttling import TENANTS, throttled_attempt, throttled_registration_key
from worker.domain.tokens import checked_tenant_subject, note_acting, sessions_of

log = logging.getLogger(__name__)

Decide = Callable[[StoredTenant], Awaitable[TenantRevocation]]


@dataclass(frozen=True, slots=True)
class Proof:
    """The credentials of a tenant, and the address of the client that presents them."""

    tenant_token: str = field(repr=False)
    password: str = field(repr=False)
    client: ClientAddress | None


async def close_tenant(
    operation: AnyOperation, request: AuthorityRequest, reason: RevocationReason, call: Call, ports: Ports
) -> Done:
    """Disable or delete the tenant, and revoke all sessions of the tenant and of its users.

    A retried request carries out its first decision, and does not affect a later tenant with the
    same email.
    """
    key = idempotency_key_of(operation, call, ports, request.on_tenant or request.email)

    async def decide(tenant: StoredTenant) -> TenantRevocation:
        return await ports.tenants.decide_revocation(tenant.id, reason, key)

    if request.tenant_token is not None and request.password is not None:
        proof = Proof(request.tenant_token, request.password.get_secret_value(), request.client_address)
        decision = await decide_as_tenant(proof, key, call, ports, decide)
    else:
        tenant = await named_tenant(operation, request, call, ports)
        # After the tenant was read: a deletion is recorded before another tenant can use the email.
        if request.on_tenant is not None:
            spare_operators(request.on_tenant, ports)
            before = await ports.tenants.find_decision(request.on_tenant, key)
        else:
            before = await ports.tenants.find_decision_by_email(request.email or "", key)
        if before is None:
            if tenant is None:
                raise TenantNotFound
            before = await decide(tenant)
        call.audit_facts.login = tenant.login if tenant else request.email and f"tenant:{request.email}"
        decision = before
    call.audit_facts.tenant, call.audit_facts.reason = decision.tenant, reason
    await revoke_tenant_sessions(decision, ports)
    return Done.now()


async def decide_as_tenant(
    proof: Proof, key: IdempotencyKey, call: Call, ports: Ports, decide: Decide
) -> TenantRevocation:
    """Authenticate the tenant by token and password, and return its decision.

    A retried request gets its first decision, although that revoked the token and may have changed
    the password; the token's signature is still verified. Raises `InvalidTenantToken`,
    `InvalidCredentials`, and `Throttled`: an attacker with a stolen token may guess the password no
    faster than at a login.
    """
    tenant_token = proof.tenant_token
    session = (await sessions_of([tenant_token], ports)).get(tenant_token)
    if session is None:
        raise InvalidTenantToken
    try:
        checked_tenant_subject(tenant_token, {tenant_token: replace(session, revocation=None)}, ports)
    except InvalidToken:
        raise InvalidTenantToken from None
    note_acting(session.tenant)
    call.audit_facts.tenant, call.audit_facts.login = session.tenant, session.login
    await ports.turns.enter(session.tenant, call)
    tenant = await ports.tenants.find(session.tenant)
    may_act = tenant is not None and session.revocation is None
    if tenant and may_act and await _knows_password(tenant, proof, call, ports):
        try:
            return await decide(tenant)
        except TenantNotFound:  # deleted since it was read
            raise InvalidTenantToken from None
    # Last, so that a decision of a concurrent delivery of this request, which made the checks above
    # fail, is found.
    before = await ports.tenants.find_decision(session.tenant, key)
    if before is None:
        raise InvalidCredentials if may_act else InvalidTenantToken
    return before


async def check_password(
    tenant: StoredTenant, password: str, client: ClientAddress | None, call: Call, ports: Ports
) -> None:
    """Check the tenant's password. Raises `InvalidCredentials`, and `Throttled` after too many wrong ones.

    Wrong passwords at logins and here are counted together.
    """
    async with throttled_attempt(TENANTS, tenant.email, client, call, ports):
        if not await ports.hasher.verify(tenant.password_hash, password):
            raise InvalidCredentials


async def named_tenant(
    operation: AnyOperation, request: OperatorAuthority, call: Call, ports: Ports
) -> StoredTenant | None:
    """Check the operator's token or the registration key, and return the tenant that the request names, if any.

    Raises `InvalidTenantToken` and `Forbidden` for the token, `InvalidCredentials` and `Throttled` for the key.
    """
    if request.tenant_token is not None and request.on_tenant is not None:
        # Without the tenant, which does not exist any more if a deletion is retried.
        caller = TenantRequest(tenant_token=request.tenant_token, caller_address=request.client_address)
        await principal_of(operation, caller, call, ports)
        tenant = await ports.tenants.find(request.on_tenant)
    elif request.registration_key is not None and request.email is not None:
        registration_key = request.registration_key.get_secret_value()
        await check_registration_key(registration_key, request.client_address, call, ports)
        tenant = await ports.tenants.find_by_email(request.email)
    else:
        raise InvalidCredentials  # unreachable: the contract refuses such a request
    if tenant is not None:
        note_acting(tenant.id)
    return tenant


async def tenant_of(tenant: str, ports: Ports) -> StoredTenant:
    """Return the tenant with this id. Raises `TenantNotFound`."""
    found = await ports.tenants.find(tenant)
    if found is None:
        raise TenantNotFound
    return found


def spare_operators(tenant: str, ports: Ports) -> None:
    """Raise `Forbidden` if this is the operators' own tenant.

    Otherwise an operator could end all others' power, or take over the tenant that they log in through.
    """
    if tenant == ports.operator_tenant:
        raise Forbidden("operators cannot do this to the operators' tenant")


async def check_registration_key(key: str, client: ClientAddress | None, call: Call, ports: Ports) -> None:
    """Check a registration key. Raises `InvalidCredentials`, and `Throttled` after too many wrong ones."""
    if not ports.registration.has_key:  # nothing can be guessed, so nothing is counted
        raise InvalidCredentials
    async with throttled_registration_key(client, call, ports):
        if not ports.registration.is_key(key):
            address = call.client(client)
            origin = {"client_address": None if address is None else str(address), "caller": call.service}
            log.warning("a wrong registration key was shown", extra=origin)
            raise InvalidCredentials
    call.audit_facts.by_operator = True


async def _knows_password(tenant: StoredTenant, proof: Proof, call: Call, ports: Ports) -> bool:
    # The token is proven and alive: wrong passwords have to wait, but no number of them in a row locks this tenant out.
    ports = replace(ports, throttle=replace(ports.throttle, account=ports.throttle.known_origin))
    with contextlib.suppress(InvalidCredentials):
        await check_password(tenant, proof.password, proof.client, call, ports)
        return True
    return False
