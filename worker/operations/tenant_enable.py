"""tenant.enable"""

from shared.contracts.errors import TenantNotFound
from shared.contracts.operation import Done
from shared.contracts.tenant_enable import TENANT_ENABLE, TenantEnableRequest
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.ports import Ports
from worker.domain.tenant_authority import tenant_of_operator
from worker.domain.throttling import TENANTS, forget_failures


async def tenant_enable(request: TenantEnableRequest, call: Call, ports: Ports) -> Done:
    """Lets a disabled tenant log in again, and one that strangers have locked out by wrong passwords.

    The same call again does not undo that the tenant was disabled since.
    """
    key = request.registration_key.get_secret_value()
    tenant = await tenant_of_operator(key, request.email, request.client_address, call, ports)
    if tenant is None:
        raise TenantNotFound
    call.noted.tenant, call.noted.login = tenant.id, tenant.login
    await forget_failures(TENANTS, tenant.email, ports)
    await ports.tenants.enable(tenant.id, mark_of(TENANT_ENABLE, call, ports, request.email))
    return Done.now()
