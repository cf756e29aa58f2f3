"""The operation `session.list`."""

from shared.contracts.session_list import MAX_SESSIONS, SESSION_LIST, SessionListReply, SessionListRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.tokens import user_of
from worker.domain.views import public_session


async def session_list(request: SessionListRequest, call: Call, ports: Ports) -> SessionListReply:
    """Return the newest live sessions of a user."""
    tenant = (await principal_of(SESSION_LIST, request, call, ports)).tenant
    user = await user_of(tenant, await ports.users.spelling(tenant, request.login), ports)
    live = await ports.sessions.live_of_user(user, ports.clock.now(), MAX_SESSIONS)
    return SessionListReply(sessions=tuple(public_session(session) for session in live))
