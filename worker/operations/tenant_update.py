"""tenant.update"""

from shared.contracts.errors import InvalidTenantToken
from shared.contracts.events import RevocationReason
from shared.contracts.tenant_update import TENANT_UPDATE, TenantUpdateReply, TenantUpdateRequest
from worker.call import Call
from worker.operations.authority import Proof, check_password, decided_by_tenant
from worker.operations.choosing import chosen
from worker.operations.ending import carry_out_of_tenant
from worker.operations.guarding import TENANTS, forget_failures
from worker.operations.marking import mark_of
from worker.operations.opening import open_tenant_session
from worker.ports import Ports
from worker.records import Tenant, TenantEnding


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
