"""The operation `tenant.reset`."""

from shared.contracts.tenant_reset import TENANT_RESET, TenantResetReply, TenantResetRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.records import StoredReset
from worker.domain.tenant_authority import spare_operators, tenant_of
from worker.domain.tenant_reset import LIFETIME, code_digest, new_code
from worker.domain.views import milliseconds


async def tenant_reset(request: TenantResetRequest, call: Call, ports: Ports) -> TenantResetReply:
    """Return a new code with which the tenant can set its password. Earlier codes are void.

    A retry gets another code. The first one stays valid as well: only its digest is stored, so it cannot be returned
    again, and the reply that the caller gets may be either.
    """
    principal = await principal_of(TENANT_RESET, request, call, ports)
    spare_operators(principal.tenant, ports)
    tenant = await tenant_of(principal.tenant, ports)
    call.audit_facts.tenant, call.audit_facts.login = tenant.id, tenant.login
    key = idempotency_key_of(TENANT_RESET, call, ports, tenant.id)
    code, expires_at = new_code(), key.at + LIFETIME
    await ports.tenants.begin_reset(tenant, StoredReset(key.value, tenant.generation, expires_at, (code_digest(code),)))
    return TenantResetReply(code=code, expires_at=milliseconds(expires_at))
