"""Bearer tokens of ASGI connections (RFC 6750): reading, verification and error responses."""

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Protocol

from ..client.scopes import granted
from ..contracts.claims import Claims
from ..contracts.errors import (
    RETRY_AFTER_SECONDS,
    AuthError,
    Forbidden,
    InternalError,
    InvalidToken,
    ServiceCredentialsRejected,
    Temporary,
    Unavailable,
)

log = logging.getLogger(__name__)

#: RFC 6750, 3: a request without a token gets only the challenge; other refusals add the reason.
CHALLENGE = 'Bearer realm="jincor-auth"'

#: Browsers cannot set headers on a WebSocket. They offer two subprotocols instead: this one, which
#: the server selects, and one that carries the token, which the server never sends back.
SUBPROTOCOL = "jincor-auth"
#: Prefix of the subprotocol that carries the token.
TOKEN_SUBPROTOCOL_PREFIX = "jincor-auth.bearer."  # noqa: S105 - a prefix

AsgiScope = MutableMapping[str, Any]
"""The ASGI scope of a connection, which is unrelated to the scope of a token."""


class TokenVerifier(Protocol):
    """Verifies tokens and watches their sessions. `CachedVerifier` implements it, and fakes in
    tests.

    See `CachedVerifier` for what the methods do.
    """

    async def verify(self, token: str) -> Claims: ...

    async def until_ended(self, token: str) -> None: ...

    def forget(self, claims: Claims) -> None: ...


class Refusal(Exception):
    """The HTTP response to a connection that is not authorized. `str()` is its public text."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str]) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers)


async def authenticate(scope: AsgiScope, verifier: TokenVerifier) -> Claims:
    """Verify the token of a connection, store its claims in `scope["auth"]` and return them.

    Raises `Refusal` with 401 without a valid token, or 503 if the token cannot be verified.
    """
    token = bearer_token(scope)
    try:
        claims = await verifier.verify(token)
    except InvalidToken:
        raise invalid_token_refusal() from None
    except Temporary as error:
        raise unavailable_refusal(error.retry_after_seconds) from None
    except (InternalError, ServiceCredentialsRejected, Forbidden):  # the client library logs the last two
        raise unavailable_refusal() from None
    except AuthError as error:  # only a newer service knows the code
        log.error("tokens cannot be verified: %s", error, extra={"code": error.code})  # noqa: TRY400 - the text says it all
        raise unavailable_refusal() from None
    scope["auth"] = claims
    return claims


def authorize(claims: Claims, required: Sequence[str]) -> None:
    """Raise `Refusal` with 403 unless the scope of the claims grants all required names."""
    if not granted(claims.scope).issuperset(required):
        names = " ".join(required)
        challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{names}"'
        raise Refusal(403, f"scope is not sufficient: {names}", {"WWW-Authenticate": challenge})


def bearer_token(scope: AsgiScope) -> str:
    """Return the token of a connection: from its Authorization header or a WebSocket subprotocol.

    Raises `Refusal` with 401 without a token.
    """
    headers = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(headers) == 1:  # a proxy may have checked any one of several, so none is used
        scheme, _, token = headers[0].decode("latin-1").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return str(token.strip())
    for offered in scope.get("subprotocols", ()):
        token = offered.removeprefix(TOKEN_SUBPROTOCOL_PREFIX)
        if token not in {offered, ""}:
            return str(token)
    raise Refusal(401, "not authenticated", {"WWW-Authenticate": CHALLENGE})


def invalid_token_refusal() -> Refusal:
    """Return the refusal of a token without a live session: 401."""
    return Refusal(401, InvalidToken.text, {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'})


def unavailable_refusal(retry_after_seconds: int = RETRY_AFTER_SECONDS) -> Refusal:
    """Return the refusal for a token that cannot be verified now: 503 with `Retry-After`."""
    return Refusal(503, Unavailable.text, {"Retry-After": str(retry_after_seconds)})
