"""token.introspect: describe a user token as in RFC 7662, which API gateways understand."""

from typing import Any, Literal

from pydantic import Field, model_validator

from .claims import Claims
from .errors import Forbidden, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import Token, WireModel

#: The token type of RFC 6750: a token that any holder may use.
BEARER = "Bearer"


class TokenIntrospectRequest(TenantRequest):
    token: Token


class TokenIntrospectReply(WireModel):
    """The registered members of RFC 7662, 2.2. For an inactive token the reply has only
    `active`."""

    active: bool
    scope: str | None = None
    """Absent if the user's scope is an object: RFC 7662 allows only strings."""
    client_id: str | None = Field(default=None, alias="client_id")
    """The id of the tenant."""
    username: str | None = None
    """The login of the user."""
    token_type: Literal["Bearer"] | None = Field(default=None, alias="token_type")
    exp: int | None = None
    iat: int | None = None
    sub: str | None = None
    aud: str | None = None
    iss: str | None = None
    jti: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _unknown_type_is_inactive(cls, members: Any) -> Any:
        # A newer token type may need an additional proof. An older caller would accept it without
        # one.
        kind = members.get("token_type") if isinstance(members, dict) else None
        return members if kind in (None, BEARER) else {"active": False}

    @classmethod
    def of(cls, claims: Claims, *, with_exp: bool = True) -> "TokenIntrospectReply":
        """Return the reply for an active token with these claims."""
        scope = {"scope": claims.scope} if isinstance(claims.scope, str) else {}
        exp = {"exp": claims.exp} if with_exp else {}
        return cls(
            active=True,
            **scope,
            **exp,
            client_id=claims.tenant,
            username=claims.login,
            token_type=BEARER,
            iat=claims.iat,
            sub=claims.sub,
            aud=claims.aud,
            iss=claims.iss,
            jti=claims.jti,
        )


INACTIVE = TokenIntrospectReply(active=False)

TOKEN_INTROSPECT = Operation(
    "token.introspect",
    Lane.VERIFY,
    TokenIntrospectRequest,
    TokenIntrospectReply,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    permission=Permission.TOKENS_VERIFY,
)
