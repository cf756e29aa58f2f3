"""Bearer tokens of ASGI connections (RFC 6750): finding one, having it verified, and how the rest is refused."""

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Protocol

from ..client.scopes import granted
from ..contracts.claims import Claims
from ..contracts.errors import (
    RETRY_AFTER_SECONDS,
    AuthError,
    InternalError,
    InvalidToken,
    Temporary,
    Unavailable,
)

log = logging.getLogger(__name__)

#: RFC 6750, 3: a request without a token gets the challenge alone, any other also the reason.
CHALLENGE = 'Bearer realm="jincor-auth"'

#: Browsers cannot set headers on a WebSocket. They offer two subprotocols instead: this one, which the server answers
#: with, and a second one that carries the token and is never repeated.
SUBPROTOCOL = "jincor-auth"
TOKEN_SUBPROTOCOL_PREFIX = "jincor-auth.bearer."  # noqa: S105 - a prefix

AsgiScope = MutableMapping[str, Any]
"""What ASGI calls the scope of a connection; not to be confused with that of a token."""


class TokenVerifier(Protocol):
    """Says whose a token is, and when that is over: a `CachedVerifier`, or a stand-in for it."""

    async def verify(self, token: str) -> Claims: ...

    async def until_ended(self, token: str) -> None: ...

    def forget(self, claims: Claims) -> None: ...


class Refusal(Exception):
    """The answer to who may not come in. `str()` is its public text."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str]) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers)


async def authenticate(scope: AsgiScope, verifier: TokenVerifier) -> Claims:
    """The claims of whoever connects, also put into the connection's `auth`. Raises `Refusal`: 401 or 503."""
    token = bearer_token(scope)
    try:
        claims = await verifier.verify(token)
    except InvalidToken as error:
        raise Refusal(401, str(error), {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}) from None
    except Temporary as error:
        raise unavailable_refusal(error.retry_after_seconds) from None
    except InternalError:
        raise unavailable_refusal() from None
    except AuthError as error:
        # What is wrong is this service's own credentials, and nobody outside can do anything about it.
        log.error("tokens cannot be verified", extra={"code": error.code, "error": str(error)})  # noqa: TRY400 - the text says it all
        raise unavailable_refusal() from None
    scope["auth"] = claims
    return claims


def authorize(claims: Claims, required: Sequence[str]) -> None:
    """Raises `Refusal`, 403, unless the claims' scope grants all of these names."""
    if not granted(claims.scope).issuperset(required):
        names = " ".join(required)
        challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{names}"'
        raise Refusal(403, f"scope is not sufficient: {names}", {"WWW-Authenticate": challenge})


def bearer_token(scope: AsgiScope) -> str:
    """The token of a connection: from its Authorization header, or from what a browser's WebSocket offers.

    Raises `Refusal`, 401, where there is none.
    """
    headers = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(headers) == 1:  # of several, who knows which one a proxy in front has looked at
        scheme, _, token = headers[0].decode("latin-1").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return str(token.strip())
    for offered in scope.get("subprotocols", ()):
        token = offered.removeprefix(TOKEN_SUBPROTOCOL_PREFIX)
        if token not in {offered, ""}:
            return str(token)
    raise Refusal(401, "not authenticated", {"WWW-Authenticate": CHALLENGE})


def unavailable_refusal(retry_after_seconds: int = RETRY_AFTER_SECONDS) -> Refusal:
    """The answer while nobody can be asked: 503, and when to come again."""
    return Refusal(503, Unavailable.text, {"Retry-After": str(retry_after_seconds)})
