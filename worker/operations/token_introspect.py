"""The operation `token.introspect`."""

from shared.contracts.errors import InvalidToken
from shared.contracts.token_introspect import INACTIVE, TOKEN_INTROSPECT, TokenIntrospectReply, TokenIntrospectRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.tokens import checked_user, sessions_of


async def token_introspect(request: TokenIntrospectRequest, call: Call, ports: Ports) -> TokenIntrospectReply:
    """Return the introspection (RFC 7662) of a user token of this tenant. Any other token is inactive."""
    sessions = await sessions_of([request.tenant_token, request.token], ports)
    tenant = (await principal_of(TOKEN_INTROSPECT, request, call, ports, sessions)).tenant
    try:
        _session, claims = checked_user(request.token, tenant, sessions, ports)
    except InvalidToken:
        return INACTIVE
    return TokenIntrospectReply.of(claims)
