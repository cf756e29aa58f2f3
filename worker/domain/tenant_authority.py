"""Who decides about a tenant, and what: the tenant by its token and password, the operator by the registration key."""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from shared.contracts.address import ClientAddress
from shared.contracts.authority import AuthorityRequest
from shared.contracts.errors import InvalidCredentials, InvalidTenantToken, TenantNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import Mark, Tenant, TenantEnding
from worker.domain.session_revocation import carry_out_of_tenant
from worker.domain.throttling import TENANTS, guarded, guarded_registration_key
from worker.domain.tokens import checked_tenant, sessions_of

log = logging.getLogger(__name__)

Decide = Callable[[Tenant], Awaitable[TenantEnding]]


@dataclass(frozen=True, slots=True)
class Proof:
    """With what a tenant proves itself, and from where."""

    tenant_token: str = field(repr=False)
    password: str = field(repr=False)
    client: ClientAddress | None


async def end_tenant(request: AuthorityRequest, reason: RevocationReason, mark: Mark, call: Call, ports: Ports) -> Done:
    """Decides that the tenant is disabled or deleted, and ends all its sessions and its users'.

    The same request again carries out that decision, and touches no tenant that has the email since.
    """

    async def decide(tenant: Tenant) -> TenantEnding:
        return await ports.tenants.decide_ending(tenant.id, reason, mark)

    if request.tenant_token is not None and request.password is not None:
        proof = Proof(request.tenant_token, request.password.get_secret_value(), request.client_address)
        ending = await decided_by_tenant(proof, mark, call, ports, decide)
    elif request.registration_key is not None and request.email is not None:
        key = request.registration_key.get_secret_value()
        tenant = await tenant_of_operator(key, request.email, request.client_address, call, ports)
        call.noted.login = f"tenant:{request.email}"
        # In this order: a deletion is remembered before another tenant can have the email.
        before = await ports.tenants.decided_about(request.email, mark)
        if before is None:
            if tenant is None:
                raise TenantNotFound
            before = await decide(tenant)
        ending = before
    else:
        raise InvalidCredentials  # the contract lets no such request pass
    call.noted.tenant = ending.tenant
    await carry_out_of_tenant(ending, ports)
    return Done.now()


async def decided_by_tenant(proof: Proof, mark: Mark, call: Call, ports: Ports, decide: Decide) -> TenantEnding:
    """What the tenant decides, who proves itself by its token and by its password.

    If the request has come before, what it decided then, though that ended the token and may have changed the password.
    The token is proven even so, but for being alive. Raises `InvalidTenantToken`, `InvalidCredentials` and `Throttled`:
    who has stolen a token may guess no faster than who has none.
    """
    tenant_token = proof.tenant_token
    ports.turns.refuse_early(ports.tokens.session_id(tenant_token))
    session = (await sessions_of([tenant_token], ports)).get(tenant_token)
    if session is None:
        raise InvalidTenantToken
    checked_tenant(tenant_token, {tenant_token: replace(session, revocation=None)}, ports)
    call.noted.tenant, call.noted.login = session.tenant, session.login
    await ports.turns.enter(session.tenant, call, session.id)
    tenant = await ports.tenants.find(session.tenant)
    may_act = tenant is not None and session.revocation is None
    if tenant and may_act and await _knows_password(tenant, proof, call, ports):
        try:
            return await decide(tenant)
        except TenantNotFound:  # it was deleted meanwhile
            raise InvalidTenantToken from None
    # Last: whatever of the above failed because another delivery of this request has decided, that is seen here.
    before = await ports.tenants.decided(session.tenant, mark)
    if before is None:
        raise InvalidCredentials if may_act else InvalidTenantToken
    return before


async def check_password(tenant: Tenant, password: str, client: ClientAddress | None, call: Call, ports: Ports) -> None:
    """Raises `InvalidCredentials` if it is not the tenant's, and `Throttled` after too many such, logins included."""
    async with guarded(TENANTS, tenant.email, client, call, ports):
        if not await ports.hasher.verify(tenant.password_hash, password):
            raise InvalidCredentials


async def tenant_of_operator(
    registration_key: str, email: str, client: ClientAddress | None, call: Call, ports: Ports
) -> Tenant | None:
    """The tenant of this email, for who has the registration key. Raises `InvalidCredentials` and `Throttled`."""
    await check_registration_key(registration_key, client, call, ports)
    return await ports.tenants.find_by_email(email)


async def check_registration_key(key: str, client: ClientAddress | None, call: Call, ports: Ports) -> None:
    """Raises `InvalidCredentials` if it is not the registration key, and `Throttled` after too many wrong ones."""
    async with guarded_registration_key(client, call, ports):
        if not ports.registration.is_key(key):
            address = call.client(client)
            told = {"client_address": None if address is None else str(address), "caller": call.service}
            log.warning("a wrong registration key was shown", extra=told)
            raise InvalidCredentials
    call.noted.by_operator = True


async def _knows_password(tenant: Tenant, proof: Proof, call: Call, ports: Ports) -> bool:
    with contextlib.suppress(InvalidCredentials):
        await check_password(tenant, proof.password, proof.client, call, ports)
        return True
    return False
