"""The operation `tenant.register`."""

import contextlib

from shared.contracts.errors import EmailTaken, InvalidCredentials, RegistrationForbidden
from shared.contracts.tenant_register import TenantRegisterReply, TenantRegisterRequest
from worker.domain.call import Call
from worker.domain.identifiers import new_id
from worker.domain.password_policy import accepted_password
from worker.domain.ports import Ports
from worker.domain.records import StoredTenant
from worker.domain.session_opening import open_tenant_session
from worker.domain.tenant_authority import check_registration_key
from worker.domain.throttling import TENANTS, forget_failures, unauthenticated_group


async def tenant_register(request: TenantRegisterRequest, call: Call, ports: Ports) -> TenantRegisterReply:
    """Store a new tenant and create its first session. A retry gets the first result."""
    await _check_may_register(request, call, ports)
    await ports.turns.enter(unauthenticated_group(call), call)
    password = accepted_password(request.password, request.email, request.email, ports)
    tenant = StoredTenant(
        id=new_id(),
        email=request.email,
        password_hash=await ports.hasher.hash(password),
        registered_at=ports.clock.now(),
        idempotency_key=call.message_id,
    )
    try:
        await ports.tenants.add(tenant)
    except EmailTaken:
        tenant = await _created_by_this_call(tenant, password, ports)
    await forget_failures(TENANTS, tenant.email, ports)
    token = await open_tenant_session(tenant, call, ports)
    return TenantRegisterReply(id=tenant.id, email=tenant.email, login=tenant.login, token=token)


async def _check_may_register(request: TenantRegisterRequest, call: Call, ports: Ports) -> None:
    """Check the registration key or the client's network. Raises `RegistrationForbidden` and `Throttled`.

    A wrong key is counted even if the network needs no key. Otherwise a client there could test
    keys: the new tenant's audit trail shows whether the key was right.
    """
    if request.registration_key is not None:
        with contextlib.suppress(InvalidCredentials):
            key = request.registration_key.get_secret_value()
            await check_registration_key(key, request.client_address, call, ports)
            return
    address = call.client(request.client_address)
    if not ports.registration.admits(None if address is None else str(address)):
        raise RegistrationForbidden


async def _created_by_this_call(tenant: StoredTenant, password: str, ports: Ports) -> StoredTenant:
    """Return the stored tenant if an earlier delivery of this request created it. Raises `EmailTaken`.

    Message ids are not secret, so the password has to match as well.
    """
    stored = await ports.tenants.find_by_email(tenant.email)
    if stored is None or stored.idempotency_key != tenant.idempotency_key:
        raise EmailTaken
    if not await ports.hasher.verify(stored.password_hash, password):
        raise EmailTaken
    return stored
