"""The operation `tenant.login`."""

from shared.contracts.errors import InvalidCredentials
from shared.contracts.tenant_login import TenantLoginReply, TenantLoginRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.session_opening import open_tenant_session
from worker.domain.throttling import TENANTS, throttled_attempt, unauthenticated_group


async def tenant_login(request: TenantLoginRequest, call: Call, ports: Ports) -> TenantLoginReply:
    """Check a tenant's password and create a session.

    An unknown email and a disabled tenant cost the same work and get the same reply as a wrong
    password.
    """
    password = request.password.get_secret_value()
    await ports.turns.enter(unauthenticated_group(call), call)
    async with throttled_attempt(TENANTS, request.email, request.client_address, call, ports):
        tenant = await ports.tenants.find_by_email(request.email)
        if tenant is not None and tenant.disabled:  # hashed like an unknown tenant: a right password takes less time
            tenant = None
        right = await ports.hasher.verify(tenant.password_hash if tenant else None, password)
        if tenant is None or not right:
            raise InvalidCredentials
    if ports.hasher.is_stale(tenant.password_hash):
        await ports.tenants.replace_hash(tenant, await ports.hasher.hash(password))
    token = await open_tenant_session(tenant, call, ports)
    return TenantLoginReply(token=token, access_token=token)
