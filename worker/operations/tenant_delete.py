"""tenant.delete"""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.tenant_delete import TENANT_DELETE, TenantDeleteRequest
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.ports import Ports
from worker.domain.tenant_authority import end_tenant


async def tenant_delete(request: TenantDeleteRequest, call: Call, ports: Ports) -> Done:
    """Removes the tenant and its users, and ends every session of them. The same call again answers as it did first,
    and spares a later tenant of the same email."""
    mark = mark_of(TENANT_DELETE, call, ports, request.email)
    return await end_tenant(request, RevocationReason.TENANT_DELETED, mark, call, ports)
