"""tenant.disable"""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.tenant_disable import TENANT_DISABLE, TenantDisableRequest
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.ports import Ports
from worker.domain.tenant_authority import end_tenant


async def tenant_disable(request: TenantDisableRequest, call: Call, ports: Ports) -> Done:
    """Ends every session of the tenant and of its users, and refuses its logins. The same call again does not disable
    a tenant anew that was enabled since."""
    mark = mark_of(TENANT_DISABLE, call, ports, request.email)
    return await end_tenant(request, RevocationReason.TENANT_DISABLED, mark, call, ports)
