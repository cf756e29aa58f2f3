"""auth.verify: verify up to 256 user tokens in one message. Each check gets its own answer."""

from typing import Annotated

from pydantic import Field, StringConstraints

from .address import ClientAddress
from .claims import Claims
from .errors import AuthError, ErrorReply, Forbidden, InvalidTenantToken, InvalidToken, from_reply
from .operation import Lane, Operation
from .permissions import Permission
from .wire import REQUEST_ID, Token, WireModel

#: Checks in one request. A larger batch answers later than two smaller ones, and its query is too
#: large for an index to serve well.
MAX_BATCH = 256
#: Largest request body. 256 checks with tokens of 2 KB each fit, and so does one check with the
#: longest tokens. A worker holds several requests in memory, and hostile JSON takes 40 times its
#: size while it is parsed.
MAX_BATCH_BYTES = 1_048_576


class VerifyCheck(WireModel):
    """One check: a tenant asks whether a token of one of its users is valid."""

    tenant_token: Token
    token: Token
    request_id: Annotated[str, StringConstraints(pattern=f"^{REQUEST_ID.pattern}$")] | None = None
    """The id of this check in the worker's log."""
    caller_address: ClientAddress | None = None
    """The caller's IP address as the edge sees it. Workers ignore it in requests that a service sends."""


class CallerSession(WireModel):
    """The session of the caller's credential, on which the answer depends besides the user's session.

    Caches drop the answer when this session is revoked, and at `exp`.
    """

    session_id: str
    """The id of the caller's API key."""
    exp: int
    """When the caller's API key or access token expires, in seconds since the epoch."""


class VerifyAnswer(WireModel):
    """The result of one check: either `claims` or `error`."""

    claims: Claims | None = None
    error: ErrorReply | None = None
    caller: CallerSession | None = None
    """Present with `claims` if the caller's credential is an API key or an access token. The payload of a tenant token
    says the same."""

    @classmethod
    def failed(cls, error: AuthError) -> "VerifyAnswer":
        """Return the answer to a check that failed with this error."""
        return cls(error=error.to_reply())

    def unwrap(self) -> Claims:
        """Return the claims, or raise the error of this check.

        Raises `InvalidToken` for a refusal whose code only a newer worker knows: the token is not
        accepted, and every caller handles that error.
        """
        if self.claims is None:
            error = from_reply(self.error) if self.error else InvalidToken()
            raise InvalidToken(str(error)) if type(error) is AuthError else error
        return self.claims


class AuthVerifyRequest(WireModel):
    checks: Annotated[tuple[VerifyCheck, ...], Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)]

    def log_fields(self) -> dict[str, object]:
        ids = [check.request_id for check in self.checks if check.request_id]
        return {"checks": len(self.checks), **({"request_ids": ids} if ids else {})}


class AuthVerifyReply(WireModel):
    answers: tuple[VerifyAnswer, ...]
    """One answer per check, in the same order."""


AUTH_VERIFY = Operation(
    "auth.verify",
    Lane.VERIFY,
    AuthVerifyRequest,
    AuthVerifyReply,
    (InvalidTenantToken, Forbidden, InvalidToken),
    repeatable=True,
    max_body_bytes=MAX_BATCH_BYTES,
    permission=Permission.TOKENS_VERIFY,
)
