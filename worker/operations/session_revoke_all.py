"""session.revoke_all"""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.session_revoke_all import SessionRevokeAllRequest
from worker.operations.access import tenant_of, user_of
from worker.operations.ending import end_all_sessions
from worker.ports import Call, Ports


async def session_revoke_all(request: SessionRevokeAllRequest, _: Call, ports: Ports) -> Done:
    """Ends every session of a user, also when there is none."""
    tenant = await tenant_of(request.tenant_token, ports)
    user = await user_of(tenant, request.login, ports)
    await end_all_sessions(user, RevocationReason.ALL_REVOKED, ports)
    return Done.now()
