"""The operation `tenant.update`."""

from shared.contracts.errors import InvalidTenantToken
from shared.contracts.events import RevocationReason
from shared.contracts.tenant_update import TENANT_UPDATE, TenantUpdateReply, TenantUpdateRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.password_policy import accepted_password
from worker.domain.ports import Ports
from worker.domain.records import StoredTenant, TenantRevocation
from worker.domain.session_opening import open_tenant_session
from worker.domain.session_revocation import revoke_tenant_sessions
from worker.domain.tenant_authority import Proof, check_password, decide_as_tenant
from worker.domain.throttling import TENANTS, forget_failures


async def tenant_update(request: TenantUpdateRequest, call: Call, ports: Ports) -> TenantUpdateReply:
    """Revoke the tenant's own sessions, set its new password in the same decision, and create a session.

    API keys are revoked only if the request asks for that.

    A retry revokes no session created since, and gets the same session while the tenant has the
    password that the request set.
    """
    sets_password = request.password is not None
    # Without `revokeKeys` as older workers compute it.
    payload = [sets_password, "revoke keys"] if request.revoke_keys else sets_password
    key = idempotency_key_of(TENANT_UPDATE, call, ports, payload)
    current = request.current_password.get_secret_value()
    reason = RevocationReason.ALL_REVOKED if request.password is None else RevocationReason.PASSWORD_CHANGED
    call.audit_facts.reason = reason

    async def decide(tenant: StoredTenant) -> TenantRevocation:
        if request.password is None:
            return await ports.tenants.decide_revocation(tenant.id, reason, key, revoke_keys=request.revoke_keys)
        password_hash = await ports.hasher.hash(accepted_password(request.password, tenant.login, tenant.email, ports))
        return await ports.tenants.decide_revocation(
            tenant.id, reason, key, password_hash, revoke_keys=request.revoke_keys
        )

    proof = Proof(request.tenant_token, current, request.client_address)
    decision = await decide_as_tenant(proof, key, call, ports, decide)
    await revoke_tenant_sessions(decision, ports)
    tenant = await ports.tenants.find(decision.tenant)
    if tenant is None or tenant.disabled:
        raise InvalidTenantToken
    # A retry proves nothing, so the current password is checked again before a token is returned.
    password = request.password.get_secret_value() if request.password else current
    await check_password(tenant, password, request.client_address, call, ports)
    if request.password is not None:
        await forget_failures(TENANTS, tenant.email, ports)
    token = await open_tenant_session(tenant, call, ports)
    return TenantUpdateReply(token=token, access_token=token)
