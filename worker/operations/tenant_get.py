"""The operation `tenant.get`."""

from shared.contracts.tenant import Tenant
from shared.contracts.tenant_get import TENANT_GET, TenantGetRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.tenant_authority import tenant_of
from worker.domain.tenant_counts import with_counts


async def tenant_get(request: TenantGetRequest, call: Call, ports: Ports) -> Tenant:
    """Return one tenant with its counts."""
    principal = await principal_of(TENANT_GET, request, call, ports)
    (view,) = await with_counts([await tenant_of(principal.tenant, ports)], ports)
    return view
