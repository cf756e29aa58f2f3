"""Who decides about a tenant, and what: the tenant by its token and password, the operator by the registration key."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from shared.contracts.authority import AuthorityRequest
from shared.contracts.errors import InvalidCredentials, InvalidTenantToken, TenantNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from worker.operations.access import checked_tenant, sessions_of
from worker.operations.ending import carry_out_of_tenant
from worker.ports import Mark, Ports, Tenant, TenantEnding

Decide = Callable[[Tenant], Awaitable[TenantEnding]]


async def end_tenant(request: AuthorityRequest, reason: RevocationReason, mark: Mark, ports: Ports) -> Done:
    """Decides that the tenant is disabled or deleted, and ends all its sessions and its users'.

    The same request again carries out that decision, and touches no tenant that has the email since.
    """

    async def decide(tenant: Tenant) -> TenantEnding:
        return await ports.tenants.decide_ending(tenant.id, reason, mark)

    if request.tenant_token is not None and request.password is not None:
        password = request.password.get_secret_value()
        ending = await decided_by_tenant(request.tenant_token, password, mark, ports, decide)
    elif request.registration_key is not None and request.email is not None:
        tenant = await tenant_of_operator(request.registration_key.get_secret_value(), request.email, ports)
        # In this order: a deletion is remembered before another tenant can have the email.
        before = await ports.tenants.decided_about(request.email, mark)
        if before is None:
            if tenant is None:
                raise TenantNotFound
            before = await decide(tenant)
        ending = before
    else:
        raise InvalidCredentials  # the contract lets no such request pass
    await carry_out_of_tenant(ending, ports)
    return Done.now()


async def decided_by_tenant(tenant_token: str, password: str, mark: Mark, ports: Ports, decide: Decide) -> TenantEnding:
    """What the tenant decides, who proves itself by its token and by its password.

    If the request has come before, what it decided then, though that ended the token and may have changed the password.
    The token is proven even so, but for being alive. Raises `InvalidTenantToken` and `InvalidCredentials`.
    """
    session = (await sessions_of([tenant_token], ports)).get(tenant_token)
    if session is None:
        raise InvalidTenantToken
    checked_tenant(tenant_token, {tenant_token: replace(session, revocation=None)}, ports)
    tenant = await ports.tenants.find(session.tenant)
    may_act = tenant is not None and session.revocation is None
    if tenant and may_act and await ports.hasher.verify(tenant.password_hash, password):
        try:
            return await decide(tenant)
        except TenantNotFound:  # it was deleted meanwhile
            raise InvalidTenantToken from None
    # Last: whatever of the above failed because another delivery of this request has decided, that is seen here.
    before = await ports.tenants.decided(session.tenant, mark)
    if before is None:
        raise InvalidCredentials if may_act else InvalidTenantToken
    return before


async def tenant_of_operator(registration_key: str, email: str, ports: Ports) -> Tenant | None:
    """The tenant of this email, for who has the registration key. Raises `InvalidCredentials`."""
    if not ports.registration.is_key(registration_key):
        raise InvalidCredentials
    return await ports.tenants.find_by_email(email)
