"""tenant.logout"""

from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.tenant_logout import TenantLogoutRequest
from worker.operations.access import checked_tenant_subject, sessions_of
from worker.operations.ending import end_session
from worker.ports import Call, Ports


async def tenant_logout(request: TenantLogoutRequest, _: Call, ports: Ports) -> Done:
    """Ends the token's session. The tenant's users stay logged in."""
    sessions = await sessions_of([request.token], ports)
    session, _claims = checked_tenant_subject(request.token, sessions, ports)
    if not await end_session(session, RevocationReason.LOGOUT, ports):
        raise InvalidToken
    return Done.now()
