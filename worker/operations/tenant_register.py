"""tenant.register"""

from shared.contracts.errors import EmailTaken, RegistrationForbidden
from shared.contracts.tenant_register import TenantRegisterReply, TenantRegisterRequest
from worker.call import Call
from worker.operations.choosing import chosen
from worker.operations.identity import new_id
from worker.operations.opening import open_tenant_session
from worker.ports import Ports
from worker.records import Tenant


async def tenant_register(request: TenantRegisterRequest, call: Call, ports: Ports) -> TenantRegisterReply:
    """Stores a new tenant and opens its first session. The same call again answers as it did first."""
    key = request.registration_key.get_secret_value() if request.registration_key else None
    address = str(request.client_address) if request.client_address else None
    if not ports.registration.allows(key, address):
        raise RegistrationForbidden
    call.noted.by_operator = key is not None and ports.registration.is_key(key)
    password = chosen(request.password, request.email, request.email, ports)
    tenant = Tenant(
        id=new_id(),
        email=request.email,
        password_hash=await ports.hasher.hash(password),
        registered_at=ports.clock.now(),
        created_by=call.message_id,
    )
    try:
        await ports.tenants.add(tenant)
    except EmailTaken:
        tenant = await _made_by_this_call(tenant, password, ports)
    token = await open_tenant_session(tenant, call, ports)
    return TenantRegisterReply(id=tenant.id, email=tenant.email, login=tenant.login, token=token)


async def _made_by_this_call(tenant: Tenant, password: str, ports: Ports) -> Tenant:
    """The stored tenant, if an earlier delivery of this request made it. A message id is no secret: the password is."""
    stored = await ports.tenants.find_by_email(tenant.email)
    if stored is None or stored.created_by != tenant.created_by:
        raise EmailTaken
    if not await ports.hasher.verify(stored.password_hash, password):
        raise EmailTaken
    return stored
