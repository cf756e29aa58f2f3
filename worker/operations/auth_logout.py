"""auth.logout"""

from shared.contracts.auth_logout import AUTH_LOGOUT, AuthLogoutRequest
from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.ports import Ports
from worker.domain.session_revocation import before, end_session
from worker.domain.tokens import checked_tenant, checked_user, sessions_of


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
