"""session.list"""

from shared.contracts.session_list import MAX_SESSIONS, SessionListReply, SessionListRequest
from worker.call import Call
from worker.operations.access import tenant_of, user_of
from worker.operations.presenting import public_session
from worker.ports import Ports


async def session_list(request: SessionListRequest, _: Call, ports: Ports) -> SessionListReply:
    """The newest live sessions of a user."""
    tenant = await tenant_of(request.tenant_token, ports)
    user = await user_of(tenant, await ports.users.spelling(tenant, request.login), ports)
    live = await ports.sessions.live_of_user(user, ports.clock.now(), MAX_SESSIONS)
    return SessionListReply(sessions=tuple(public_session(session) for session in live))
