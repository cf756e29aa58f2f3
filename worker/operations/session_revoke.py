"""session.revoke"""

from shared.contracts.errors import SessionNotFound, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.session_revoke import SESSION_REVOKE, SessionRevokeRequest
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.ports import Ports
from worker.domain.session_revocation import end_session, is_ended_by
from worker.domain.tokens import tenant_of


async def session_revoke(request: SessionRevokeRequest, call: Call, ports: Ports) -> Done:
    """Ends one live session of a user of this tenant. The same call again answers as it did first, whatever became of
    the user since."""
    tenant = call.noted.tenant = await tenant_of(request.tenant_token, ports)
    mark = mark_of(SESSION_REVOKE, call, ports)
    login = call.noted.login = await ports.users.spelling(tenant, request.login)
    user = await ports.users.find(tenant, login)
    session = (await ports.sessions.find([request.session_id])).get(request.session_id)
    # The session of a user that was deleted since has the login as that user spelled it.
    if session and session.tenant == tenant and session.login in (login, request.login) and is_ended_by(mark, session):
        return Done.now()
    if user is None:
        raise UserNotFound
    if session is None or session.user != user.id or session.expires_at <= mark.at:
        raise SessionNotFound
    if not await end_session(session, RevocationReason.REVOKED, mark, ports):
        raise SessionNotFound
    return Done.now()
