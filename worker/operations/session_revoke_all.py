"""session.revoke_all"""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL, SessionRevokeAllRequest
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.ports import Ports
from worker.domain.session_revocation import end_all_sessions
from worker.domain.tokens import tenant_of


async def session_revoke_all(request: SessionRevokeAllRequest, call: Call, ports: Ports) -> Done:
    """Ends every session of a user, also when there is none. The same call again spares those that began since."""
    tenant = call.noted.tenant = await tenant_of(request.tenant_token, ports)
    mark = mark_of(SESSION_REVOKE_ALL, call, ports)
    login = call.noted.login = await ports.users.spelling(tenant, request.login, mark)
    await end_all_sessions(tenant, login, RevocationReason.ALL_REVOKED, mark, ports)
    return Done.now()
