"""The operation `token.revoke`."""

from shared.contracts.errors import InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.token_revoke import TOKEN_REVOKE, TokenRevokeRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.session_revocation import revoke_session
from worker.domain.tokens import checked_tenant, checked_user, sessions_of


async def token_revoke(request: TokenRevokeRequest, call: Call, ports: Ports) -> Done:
    """Revoke the token's session. An invalid token also succeeds: there is nothing to revoke (RFC 7009, 2.2)."""
    sessions = await sessions_of([request.tenant_token, request.token], ports)
    tenant = checked_tenant(request.tenant_token, sessions, ports).tenant
    try:
        session, _claims = checked_user(request.token, tenant, sessions, ports)
    except InvalidToken:
        return Done.now()
    key = idempotency_key_of(TOKEN_REVOKE, call, ports)
    await revoke_session(session, RevocationReason.TOKEN_REVOKED, key, call, ports)
    return Done.now()
