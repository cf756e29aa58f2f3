"""auth.logout"""

from shared.contracts.auth_logout import AUTH_LOGOUT, AuthLogoutRequest
from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from worker.call import Call
from worker.operations.access import checked_tenant, checked_user, sessions_of
from worker.operations.ending import before, end_session
from worker.operations.marking import mark_of
from worker.ports import Ports


async def auth_logout(request: AuthLogoutRequest, call: Call, ports: Ports) -> Done:
    """Ends the token's session, durably, before it answers. The same call again answers as it did first."""
    mark = mark_of(AUTH_LOGOUT, call, ports)
    sessions = await sessions_of([request.tenant_token, request.token], ports)
    tenant = checked_tenant(request.tenant_token, sessions, ports).tenant
    session, _claims = checked_user(request.token, tenant, before(mark, sessions), ports)
    if not await end_session(session, RevocationReason.LOGOUT, mark, ports):
        raise InvalidToken
    call.noted.tenant, call.noted.login, call.noted.session = tenant, session.login, session.id
    return Done.now()
