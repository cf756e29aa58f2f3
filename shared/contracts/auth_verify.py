"""auth.verify: are these user tokens alive, and what do they say? One message, one query, many answers."""

from typing import Annotated

from pydantic import Field, StringConstraints

from .claims import Claims
from .errors import AuthError, ErrorReply, InvalidTenantToken, InvalidToken, from_reply
from .operation import Lane, Operation
from .wire import REQUEST_ID, Token, WireModel

#: Beyond this a batch answers later than two smaller ones, and one query grows past what an index likes.
MAX_BATCH = 256
#: The largest body of a request: 256 checks with tokens of 2 KB each fit, and so does one with the longest tokens. A
#: worker holds several requests in memory, and hostile JSON takes 40 times its size there while it is parsed.
MAX_BATCH_BYTES = 1_048_576


class VerifyCheck(WireModel):
    """One question: a tenant asks about a token of one of its users."""

    tenant_token: Token
    token: Token
    request_id: Annotated[str, StringConstraints(pattern=f"^{REQUEST_ID.pattern}$")] | None = None
    """Names the question in the worker's log."""


class VerifyAnswer(WireModel):
    """Either claims or an error."""

    claims: Claims | None = None
    error: ErrorReply | None = None

    @classmethod
    def failed(cls, error: AuthError) -> "VerifyAnswer":
        return cls(error=error.to_reply())

    def unwrap(self) -> Claims:
        """Return the claims. Raises what went wrong with this check, and with this check alone.

        A refusal that only a newer worker knows is `InvalidToken`: whatever it means, the token is not accepted, and
        every caller knows what to do then.
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
    """As many as there were checks, in their order."""


AUTH_VERIFY = Operation(
    "auth.verify",
    Lane.VERIFY,
    AuthVerifyRequest,
    AuthVerifyReply,
    (InvalidTenantToken, InvalidToken),
    repeatable=True,
    max_body_bytes=MAX_BATCH_BYTES,
)
