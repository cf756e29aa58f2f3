"""The operation `tenant.logout`."""

from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.tenant_logout import TENANT_LOGOUT, TenantLogoutRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.session_revocation import before_revocation, revoke_on_request
from worker.domain.tokens import checked_tenant_subject, sessions_of


async def tenant_logout(request: TenantLogoutRequest, call: Call, ports: Ports) -> Done:
    """Revoke the token's session. The tenant's users stay logged in. A retry gets the first result."""
    key = idempotency_key_of(TENANT_LOGOUT, call, ports)
    sessions = await sessions_of([request.token], ports)
    session, _claims = checked_tenant_subject(request.token, before_revocation(sessions), ports)
    if not await revoke_on_request(session, RevocationReason.LOGOUT, key, call, ports):
        raise InvalidToken
    return Done.now()
