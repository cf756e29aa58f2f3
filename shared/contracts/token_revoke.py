"""token.revoke: revoke the session of a user token as in RFC 7009. An invalid token is no error, but a
credential of the tenant itself is one: a tenant token, an API key or an access token."""

from .errors import Forbidden, InvalidTenantToken, UnsupportedTokenType
from .operation import Done, Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import Token


class TokenRevokeRequest(TenantRequest):
    token: Token


TOKEN_REVOKE = Operation(
    "token.revoke",
    Lane.MANAGE,
    TokenRevokeRequest,
    Done,
    (InvalidTenantToken, Forbidden, UnsupportedTokenType),
    repeatable=True,
    audited=True,
    permission=Permission.TOKENS_REVOKE,
)
