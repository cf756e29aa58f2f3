"""The operation `tenant.enable`."""

from shared.contracts.errors import TenantNotFound
from shared.contracts.operation import Done
from shared.contracts.tenant_enable import TENANT_ENABLE, TenantEnableRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.tenant_authority import named_tenant
from worker.domain.throttling import TENANTS, forget_failures


async def tenant_enable(request: TenantEnableRequest, call: Call, ports: Ports) -> Done:
    """Enable a disabled tenant, and unlock a tenant that is locked after too many wrong passwords.

    A retry does not enable the tenant again if it was disabled since.
    """
    tenant = await named_tenant(TENANT_ENABLE, request, call, ports)
    if tenant is None:
        raise TenantNotFound
    call.audit_facts.tenant, call.audit_facts.login = tenant.id, tenant.login
    await forget_failures(TENANTS, tenant.email, ports)
    key = idempotency_key_of(TENANT_ENABLE, call, ports, request.on_tenant or request.email)
    await ports.tenants.enable(tenant.id, key)
    return Done.now()
