"""token.introspect: is this user token active, in the words of RFC 7662, which gateways understand?"""

from typing import Any, Literal

from pydantic import Field, model_validator

from .claims import Claims
from .errors import InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .wire import Token, WireModel

#: RFC 6750: whoever has the token may use it.
BEARER = "Bearer"


class TokenIntrospectRequest(TenantRequest):
    token: Token


class TokenIntrospectReply(WireModel):
    """The registered members of RFC 7662, 2.2. Of an inactive token nothing is said but that it is inactive."""

    active: bool
    scope: str | None = None
    """Left out where the user's scope is an object: the standard knows strings alone."""
    client_id: str | None = Field(default=None, alias="client_id")
    """The tenant's id."""
    username: str | None = None
    """The user's login."""
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
        # A newer kind of token may need a proof beside it. Who does not know the kind would accept it without.
        kind = members.get("token_type") if isinstance(members, dict) else None
        return members if kind in (None, BEARER) else {"active": False}

    @classmethod
    def of(cls, claims: Claims) -> "TokenIntrospectReply":
        """What is told of the active token with these claims."""
        scope = {"scope": claims.scope} if isinstance(claims.scope, str) else {}
        return cls(
            active=True,
            **scope,
            client_id=claims.tenant,
            username=claims.login,
            token_type=BEARER,
            exp=claims.exp,
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
    (InvalidTenantToken,),
    repeatable=True,
)
