"""tenant.update"""

from shared.contracts.errors import InvalidTenantToken
from shared.contracts.events import RevocationReason
from shared.contracts.tenant_update import TENANT_UPDATE, TenantUpdateReply, TenantUpdateRequest
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.password_policy import chosen
from worker.domain.ports import Ports
from worker.domain.records import Tenant, TenantEnding
from worker.domain.session_opening import open_tenant_session
from worker.domain.session_revocation import carry_out_of_tenant
from worker.domain.tenant_authority import Proof, check_password, decided_by_tenant
from worker.domain.throttling import TENANTS, forget_failures


async def tenant_update(request: TenantUpdateRequest, call: Call, ports: Ports) -> TenantUpdateReply:
    """Ends the tenant's own sessions, sets its new password in the same decision, and opens a session.

    The same call again ends nothing that began since, and answers that session while the password is the one it set.
    """
    mark = mark_of(TENANT_UPDATE, call, ports, request.password is not None)
    current = request.current_password.get_secret_value()

    async def decide(tenant: Tenant) -> TenantEnding:
        if request.password is None:
            return await ports.tenants.decide_ending(tenant.id, RevocationReason.ALL_REVOKED, mark)
        password_hash = await ports.hasher.hash(chosen(request.password, tenant.login, tenant.email, ports))
        return await ports.tenants.decide_ending(tenant.id, RevocationReason.PASSWORD_CHANGED, mark, password_hash)

    proof = Proof(request.tenant_token, current, request.client_address)
    ending = await decided_by_tenant(proof, mark, call, ports, decide)
    await carry_out_of_tenant(ending, ports)
    tenant = await ports.tenants.find(ending.tenant)
    if tenant is None or tenant.disabled:
        raise InvalidTenantToken
    # That it has come before proves nothing: a token is for who knows the password as it is now.
    password = request.password.get_secret_value() if request.password else current
    await check_password(tenant, password, request.client_address, call, ports)
    if request.password is not None:
        await forget_failures(TENANTS, tenant.email, ports)
    token = await open_tenant_session(tenant, call, ports)
    return TenantUpdateReply(token=token, access_token=token)
