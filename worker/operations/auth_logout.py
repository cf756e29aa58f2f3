"""auth.logout"""

from shared.contracts.auth_logout import AuthLogoutRequest
from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from worker.operations.access import checked_tenant, checked_user, sessions_of
from worker.operations.ending import end_session
from worker.ports import Call, Ports


async def auth_logout(request: AuthLogoutRequest, _: Call, ports: Ports) -> Done:
    """Ends the token's session, durably, before it answers."""
    sessions = await sessions_of([request.tenant_token, request.token], ports)
    tenant = checked_tenant(request.tenant_token, sessions, ports).tenant
    session, _claims = checked_user(request.token, tenant, sessions, ports)
    if not await end_session(session, RevocationReason.LOGOUT, ports):
        raise InvalidToken
    return Done.now()
