"""The operation `session.list`."""

from shared.contracts.session_list import MAX_SESSIONS, SessionListReply, SessionListRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.tokens import tenant_of, user_of
from worker.domain.views import public_session


async def session_list(request: SessionListRequest, _: Call, ports: Ports) -> SessionListReply:
    """Return the newest live sessions of a user."""
    tenant = await tenant_of(request.tenant_token, ports)
    user = await user_of(tenant, await ports.users.spelling(tenant, request.login), ports)
    live = await ports.sessions.live_of_user(user, ports.clock.now(), MAX_SESSIONS)
    return SessionListReply(sessions=tuple(public_session(session) for session in live))
