"""The operation `tenant.disable`."""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.tenant_disable import TENANT_DISABLE, TenantDisableRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.tenant_authority import close_tenant


async def tenant_disable(request: TenantDisableRequest, call: Call, ports: Ports) -> Done:
    """Revoke every session of the tenant and of its users, and refuse their logins until the tenant is enabled.

    A retry does not disable the tenant again if it was enabled since.
    """
    return await close_tenant(TENANT_DISABLE, request, RevocationReason.TENANT_DISABLED, call, ports)
