"""session.revoke"""

from shared.contracts.errors import SessionNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.session_revoke import SessionRevokeRequest
from worker.operations.access import tenant_of, user_of
from worker.operations.ending import end_session
from worker.ports import Call, Ports


async def session_revoke(request: SessionRevokeRequest, _: Call, ports: Ports) -> Done:
    """Ends one live session of a user of this tenant."""
    tenant = await tenant_of(request.tenant_token, ports)
    user = await user_of(tenant, request.login, ports)
    session = (await ports.sessions.find([request.session_id])).get(request.session_id)
    if session is None or session.user != user.id or session.expires_at <= ports.clock.now():
        raise SessionNotFound
    if not await end_session(session, RevocationReason.REVOKED, ports):
        raise SessionNotFound
    return Done.now()
