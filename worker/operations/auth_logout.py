"""The operation `auth.logout`."""

from shared.contracts.auth_logout import AUTH_LOGOUT, AuthLogoutRequest
from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.session_revocation import before_revocation, revoke_on_request
from worker.domain.tokens import checked_user, sessions_of


async def auth_logout(request: AuthLogoutRequest, call: Call, ports: Ports) -> Done:
    """Revoke the token's session durably before the reply. A retry gets the first result."""
    key = idempotency_key_of(AUTH_LOGOUT, call, ports)
    sessions = await sessions_of([request.tenant_token, request.token], ports)
    tenant = (await principal_of(AUTH_LOGOUT, request, call, ports, sessions)).tenant
    session, _claims = checked_user(request.token, tenant, before_revocation(sessions), ports)
    if not await revoke_on_request(session, RevocationReason.LOGOUT, key, call, ports):
        raise InvalidToken
    return Done.now()
