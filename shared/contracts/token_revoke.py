"""token.revoke: end the session of a user token, if it has one; RFC 7009."""

from .errors import InvalidTenantToken
from .operation import Done, Lane, Operation, TenantRequest
from .wire import Token


class TokenRevokeRequest(TenantRequest):
    token: Token


TOKEN_REVOKE = Operation("token.revoke", Lane.MANAGE, TokenRevokeRequest, Done, (InvalidTenantToken,), repeatable=True)
