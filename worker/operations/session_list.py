"""session.list"""

from shared.contracts.session_list import SessionListReply, SessionListRequest
from worker.operations.access import tenant_of, user_of
from worker.operations.presenting import public_session
from worker.ports import Call, Ports


async def session_list(request: SessionListRequest, _: Call, ports: Ports) -> SessionListReply:
    """The live sessions of a user, newest first."""
    tenant = await tenant_of(request.tenant_token, ports)
    user = await user_of(tenant, request.login, ports)
    live = await ports.sessions.live_of_user(tenant, user.id, ports.clock.now())
    return SessionListReply(sessions=tuple(public_session(session) for session in live))
