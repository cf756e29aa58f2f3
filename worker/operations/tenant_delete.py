"""The operation `tenant.delete`."""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.tenant_delete import TENANT_DELETE, TenantDeleteRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.tenant_authority import close_tenant


async def tenant_delete(request: TenantDeleteRequest, call: Call, ports: Ports) -> Done:
    """Delete the tenant and its users, and revoke all their sessions.

    A retry gets the first result, and does not delete a later tenant with the same email.
    """
    return await close_tenant(TENANT_DELETE, request, RevocationReason.TENANT_DELETED, call, ports)
