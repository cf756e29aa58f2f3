"""The operation `token.revoke`."""

from shared.contracts.errors import Forbidden, InvalidTenantToken, InvalidToken, UnsupportedTokenType
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.token_revoke import TOKEN_REVOKE, TokenRevokeRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import Sessions, authenticated, principal_of
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
        if _is_credential_of(tenant, request.token, sessions, ports):
            raise UnsupportedTokenType from None
        return Done.now()
    key = idempotency_key_of(TOKEN_REVOKE, call, ports)
    await revoke_on_request(session, RevocationReason.TOKEN_REVOKED, key, call, ports)
    return Done.now()


def _is_credential_of(tenant: str, token: str, sessions: Sessions, ports: Ports) -> bool:
    """Return whether this is a live credential of the tenant itself."""
    session = sessions.get(token)
    if session is None or session.tenant != tenant:
        return False
    try:
        authenticated(token, sessions, None, ports)
    except InvalidTenantToken:
        return False
    except Forbidden:  # an API key that may not be used from here, but it is live
        return True
    return True
