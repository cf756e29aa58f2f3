"""The operation `token.revoke`."""

from shared.contracts.errors import InvalidToken, UnsupportedTokenType
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.token_revoke import TOKEN_REVOKE, TokenRevokeRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import is_live, principal_of
from worker.domain.session_revocation import before_revocation, revoke_on_request
from worker.domain.tokens import checked_user, sessions_of


async def token_revoke(request: TokenRevokeRequest, call: Call, ports: Ports) -> Done:
    """Revoke the token's session. An invalid token also succeeds: there is nothing to revoke (RFC 7009, 2.2).

    Raises `UnsupportedTokenType` for a live credential of the tenant itself, such as an access token, which would
    otherwise seem revoked (2.2.1).
    Another tenant's token is an invalid token.
    """
    sessions = await sessions_of([request.tenant_token, request.token], ports)
    tenant = (await principal_of(TOKEN_REVOKE, request, call, ports, sessions)).tenant
    try:
        session, _claims = checked_user(request.token, tenant, before_revocation(sessions), ports)
    except InvalidToken:
        subject = sessions.get(request.token)
        if subject is not None and subject.tenant == tenant and is_live(request.token, subject, ports):
            raise UnsupportedTokenType from None
        return Done.now()
    key = idempotency_key_of(TOKEN_REVOKE, call, ports)
    await revoke_on_request(session, RevocationReason.TOKEN_REVOKED, key, call, ports)
    return Done.now()
