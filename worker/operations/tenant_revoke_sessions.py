"""The operation `tenant.revoke_sessions`."""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.tenant_revoke_sessions import TENANT_REVOKE_SESSIONS, TenantRevokeSessionsRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.session_revocation import revoke_tenant_sessions
from worker.domain.tenant_authority import spare_operators, tenant_of


async def tenant_revoke_sessions(request: TenantRevokeSessionsRequest, call: Call, ports: Ports) -> Done:
    """Revoke every session of the tenant and of its users. A retry does not revoke sessions created since."""
    principal = await principal_of(TENANT_REVOKE_SESSIONS, request, call, ports)
    spare_operators(principal.tenant, ports)
    tenant = await tenant_of(principal.tenant, ports)
    facts, reason = call.audit_facts, RevocationReason.ALL_REVOKED
    facts.tenant, facts.login, facts.reason = tenant.id, tenant.login, reason
    key = idempotency_key_of(TENANT_REVOKE_SESSIONS, call, ports, [tenant.id, request.revoke_keys])
    decision = await ports.tenants.decide_revocation(
        tenant.id, reason, key, with_users=True, revoke_keys=request.revoke_keys
    )
    await revoke_tenant_sessions(decision, ports)
    return Done.now()
