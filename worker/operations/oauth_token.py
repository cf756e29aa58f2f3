"""The operation `oauth.token`."""

import secrets

from shared.contracts.claims import Claims
from shared.contracts.errors import InvalidScope, InvalidTenantToken
from shared.contracts.oauth_token import OAUTH_TOKEN, OauthTokenReply, OauthTokenRequest
from shared.contracts.permissions import Permission
from shared.contracts.principal_get import CredentialKind
from shared.contracts.token_introspect import BEARER
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of

#: 128 random bits (RFC 7519, 4.1.7: no two tokens have the same `jti`).
TOKEN_ID_BYTES = 16


async def oauth_token(request: OauthTokenRequest, call: Call, ports: Ports) -> OauthTokenReply:
    """Return an access token of an API key, with the claims of RFC 9068, 2.2. It expires with the key at the latest.

    Raises `InvalidTenantToken` for any other credential, and `InvalidScope`.
    """
    principal = await principal_of(OAUTH_TOKEN, request, call, ports)
    session = principal.session
    if principal.credential is not CredentialKind.API_KEY or session.key is None:
        raise InvalidTenantToken("only an API key gets an access token")
    scope = " ".join(sorted(_granted(request.scope, principal.permissions)))
    issued_at = int(ports.clock.now().timestamp())
    expires_at = min(issued_at + int(ports.lifetimes.access_token.total_seconds()), principal.expires)
    claims = Claims(
        iss=ports.tokens.issuer,
        aud=ports.tokens.issuer,  # only this service accepts it
        sub=session.id,
        iat=issued_at,
        exp=expires_at,
        jti=secrets.token_urlsafe(TOKEN_ID_BYTES),
        id=session.tenant,
        login=session.key.name,
        tenant=session.tenant,
        scope=scope,
        client_id=session.id,
    )
    return OauthTokenReply(
        access_token=ports.tokens.sign(session, claims),
        token_type=BEARER,
        expires_in=expires_at - issued_at,
        scope=scope,
    )


def _granted(scope: str | None, permissions: frozenset[Permission]) -> frozenset[Permission]:
    """Return the permissions that a scope names (RFC 6749, 3.3), or all without a scope. Raises `InvalidScope`."""
    if scope is None:
        granted = permissions
    else:
        names = set(scope.split(" "))
        granted = frozenset(permission for permission in permissions if permission in names)
        if len(granted) < len(names):
            raise InvalidScope
    if not granted:
        raise InvalidScope
    return granted
