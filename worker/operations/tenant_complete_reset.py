"""The operation `tenant.complete_reset`."""

from shared.contracts.errors import InvalidCredentials
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.tenant_complete_reset import TENANT_COMPLETE_RESET, TenantCompleteResetRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.password_policy import accepted_password
from worker.domain.ports import Ports
from worker.domain.records import TenantRevocation
from worker.domain.session_revocation import revoke_tenant_sessions
from worker.domain.tenant_reset import code_digest
from worker.domain.throttling import TENANTS, forget_failures, throttled_reset_code, unauthenticated_group
from worker.domain.tokens import note_acting


async def tenant_complete_reset(request: TenantCompleteResetRequest, call: Call, ports: Ports) -> Done:
    """Set the tenant's password, and revoke the tenant's own sessions in the same decision, which voids the code.

    An unknown email costs the same work and gets the same reply as a wrong code. A retry gets the first result while
    the tenant has the password that the request set.
    """
    await ports.turns.enter(unauthenticated_group(call), call)
    async with throttled_reset_code(request.client_address, call, ports):
        decision = await _decide(request, call, ports)
    await revoke_tenant_sessions(decision, ports)
    await forget_failures(TENANTS, request.email, ports)
    return Done.now()


async def _decide(request: TenantCompleteResetRequest, call: Call, ports: Ports) -> TenantRevocation:
    """Check the code and set the password. Raises `InvalidCredentials`, and `InvalidRequest` for a refused password."""
    code = code_digest(request.code.get_secret_value())
    # With the code in it, the key proves that a retry knows the code, which is void by then.
    key = idempotency_key_of(TENANT_COMPLETE_RESET, call, ports, [request.email, code.hex()])
    tenant = await ports.tenants.find_by_email(request.email)
    before = await ports.tenants.find_decision_by_email(request.email, key)
    if tenant is None:
        raise InvalidCredentials
    if before is not None and before.tenant == tenant.id:
        # Read again: a concurrent delivery may have set the password since the tenant was read.
        tenant = await ports.tenants.find(tenant.id) or tenant
        if not await ports.hasher.verify(tenant.password_hash, request.password.get_secret_value()):
            raise InvalidCredentials
        decision = before
    elif tenant.reset is not None and tenant.reset.has_live(code, tenant.generation, key.at):
        password_hash = await ports.hasher.hash(accepted_password(request.password, tenant.login, tenant.email, ports))
        reason = RevocationReason.PASSWORD_CHANGED
        decision = await ports.tenants.decide_revocation(tenant.id, reason, key, password_hash, code_digest=code)
    else:
        raise InvalidCredentials
    note_acting(tenant.id)
    facts = call.audit_facts
    facts.tenant, facts.login, facts.reason = tenant.id, tenant.login, decision.reason
    return decision
