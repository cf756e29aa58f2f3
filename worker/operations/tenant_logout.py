"""tenant.logout"""

from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.tenant_logout import TENANT_LOGOUT, TenantLogoutRequest
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.ports import Ports
from worker.domain.session_revocation import before, end_session
from worker.domain.tokens import checked_tenant_subject, sessions_of


async def tenant_logout(request: TenantLogoutRequest, call: Call, ports: Ports) -> Done:
    """Ends the token's session; the tenant's users stay logged in. The same call again answers as it did first."""
    mark = mark_of(TENANT_LOGOUT, call, ports)
    sessions = await sessions_of([request.token], ports)
    session, _claims = checked_tenant_subject(request.token, before(mark, sessions), ports)
    if not await end_session(session, RevocationReason.LOGOUT, mark, ports):
        raise InvalidToken
    call.noted.tenant, call.noted.login, call.noted.session = session.tenant, session.login, session.id
    return Done.now()
