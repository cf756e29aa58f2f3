"""The errors of the service: codes on the wire, and exceptions at workers, edges and clients.

AuthError
├── BadRequest               the message cannot be parsed
├── InvalidRequest           at least one field is wrong; all bad fields are listed
├── InvalidTenantToken       the tenant token is not valid
├── InvalidToken             the token in the request is not valid
├── UnsupportedTokenType     the operation does not take this type of token
├── Forbidden                the credential does not allow this operation, or not from this address
├── InvalidScope             the scope asks for more than the API key allows
├── InvalidCredentials       unknown account or wrong password; the reply does not say which
├── RegistrationForbidden
├── TenantNotFound
├── UserNotFound
├── SessionNotFound
├── KeyNotFound
├── LoginTaken
├── EmailTaken
├── KeyLimitReached          the tenant has the most API keys, or the key the most secrets
├── InternalError            a fault of the service, with an incident id
├── ServiceCredentialsRejected  the client's own tenant credentials are rejected; never on the wire
└── Temporary                the caller may retry, after a given time
    ├── Throttled            too many attempts on this account or from this address
    ├── Unavailable          no worker, no broker or no database is available
    ├── Overloaded           the queue or the tenant's share of it is full, or the wait in it was too long
    └── DeadlineExceeded     no reply in time; the operation may have been done

A worker raises one of these, the consumer sends its `ErrorReply`, and the RPC client raises the
same class. The RPC client raises `AuthError` itself for a code that only a newer worker knows, or
`Temporary` if the reply has a retry time (docs/decisions/0032). Only the client library raises
`ServiceCredentialsRejected` (docs/decisions/0041).
"""

import random
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Field, StringConstraints, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from .wire import WireModel

#: Bad fields listed in one reply. That many are enough to see what is wrong with a request.
MAX_PROBLEMS = 20
#: Default retry time: long enough for a worker or the broker to return, short enough for a person
#: to wait.
RETRY_AFTER_SECONDS = 1
#: Retry times of `overloaded`. Each refusal gets one of them at random, so that callers that are
#: refused together do not return together. Their mean, 2 seconds, is half of the time to drain a
#: full password queue of the default length: it has room by then, and is not empty yet.
OVERLOADED_RETRY_SECONDS = (1, 2, 3)
#: Limits on the details of an error: members, and characters of a value. They never grow, because
#: an older peer drops details beyond them.
MAX_DETAILS = 8
MAX_DETAIL_CHARS = 256
#: Largest integer that every JSON parser reads exactly (RFC 8259, 6).
MAX_DETAIL_INTEGER = 2**53 - 1


class ErrorCode(StrEnum):
    """The machine-readable code of an error. Codes are never renamed."""

    BAD_REQUEST = "bad_request"
    INVALID_REQUEST = "invalid_request"
    INVALID_TENANT_TOKEN = "invalid_tenant_token"  # noqa: S105 - a code, not a token
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a code, not a token
    UNSUPPORTED_TOKEN_TYPE = "unsupported_token_type"  # noqa: S105 - a code, not a token
    FORBIDDEN = "forbidden"
    INVALID_SCOPE = "invalid_scope"
    INVALID_CREDENTIALS = "invalid_credentials"
    THROTTLED = "throttled"
    REGISTRATION_FORBIDDEN = "registration_forbidden"
    TENANT_NOT_FOUND = "tenant_not_found"
    USER_NOT_FOUND = "user_not_found"
    SESSION_NOT_FOUND = "session_not_found"
    KEY_NOT_FOUND = "key_not_found"
    LOGIN_TAKEN = "login_taken"
    EMAIL_TAKEN = "email_taken"
    KEY_LIMIT_REACHED = "key_limit_reached"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    INTERNAL = "internal"


def _only_within_bounds(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Drop details beyond their limits, so that the error itself still arrives."""
    try:
        return read(value)
    except ValidationError:
        return {}


#: The form of every code, now and later. Codes go into logs and metrics, also of peers that do not
#: know them.
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
DetailName = Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9]{0,63}$")]
DetailValue = (
    bool
    | Annotated[int, Field(ge=-MAX_DETAIL_INTEGER, le=MAX_DETAIL_INTEGER)]
    | Annotated[str, StringConstraints(max_length=MAX_DETAIL_CHARS)]
)
#: Machine-readable details of an error besides its code. They hold no secrets and no input of the
#: caller.
Details = Annotated[dict[DetailName, DetailValue], Field(max_length=MAX_DETAILS), WrapValidator(_only_within_bounds)]


class FieldProblem(WireModel):
    """One bad field of a request: its dotted path, and what the service expects."""

    field: str
    message: str


class ErrorReply(WireModel):
    """An error on the wire. `incident` is the id of an internal fault in the worker's log."""

    code: Annotated[ErrorCode | Code, Field(union_mode="left_to_right")]
    """A newer worker may send a code that is not in this list. The error is temporary if the reply
    has `retryAfterSeconds`, and a refusal otherwise."""
    message: str
    problems: tuple[FieldProblem, ...] = ()
    incident: str | None = None
    retry_after_seconds: int | None = None
    """Seconds to wait before a retry; only temporary errors have it."""
    details: Details = Field(default_factory=dict)
    """Machine-readable details by name: at most 8 members. New names may be added."""


class AuthError(Exception):
    """An error that the service replies with. `str()` is its public text.

    An instance of this class itself, not of a subclass, is a refusal whose `code` only a newer
    service knows.
    """

    code: str
    """One of `ErrorCode`, `service_credentials_rejected`, or a code of a newer service."""
    text: ClassVar[str] = "request is refused"

    def __init__(self, message: str | None = None, *, details: Mapping[str, bool | int | str] | None = None) -> None:
        self.details = dict(details or {})
        super().__init__(message or self.text)

    def to_reply(self) -> ErrorReply:
        """Return the error as it is sent on the wire."""
        details = {"details": self.details} if self.details else {}
        return ErrorReply(code=self.code, message=str(self), **self._members(), **details)

    def _members(self) -> dict[str, Any]:
        """Return the reply members that only errors of this class have."""
        return {}

    @classmethod
    def _from_reply(cls, reply: ErrorReply) -> Self:
        return cls(reply.message)


class BadRequest(AuthError):
    """The message cannot be parsed: its encoding, its type or its properties are wrong."""

    code = ErrorCode.BAD_REQUEST
    text = "malformed request"


class InvalidRequest(AuthError):
    """The message can be parsed but breaks a rule of its contract. `problems` lists every bad
    field."""

    code = ErrorCode.INVALID_REQUEST
    text = "invalid request"

    def __init__(self, message: str | None = None, problems: Sequence[FieldProblem] = ()) -> None:
        self.problems = tuple(problems)
        fields = "; ".join(f"{problem.field}: {problem.message}" for problem in self.problems)
        super().__init__(message or (f"{self.text}: {fields}" if fields else None))

    def _members(self) -> dict[str, Any]:
        return {"problems": self.problems}

    @classmethod
    def from_validation(cls, error: ValidationError) -> Self:
        """Return an error with the fields that pydantic rejected, without their values."""
        return cls(problems=field_problems(error.errors(include_input=False, include_url=False)))

    @classmethod
    def _from_reply(cls, reply: ErrorReply) -> Self:
        return cls(reply.message, reply.problems)


class InvalidTenantToken(AuthError):
    """The tenant token, or the API key, access token or operator's token in its place, is not valid: for example, it is
    expired or revoked."""

    code = ErrorCode.INVALID_TENANT_TOKEN
    text = "the token or API key of the caller is invalid, expired or revoked"


class InvalidToken(AuthError):
    """The token in the request is not valid: for example, it is expired or revoked."""

    code = ErrorCode.INVALID_TOKEN
    text = "invalid token"


class UnsupportedTokenType(AuthError):
    """The token is a live credential of the tenant itself, and the operation takes user tokens only."""

    code = ErrorCode.UNSUPPORTED_TOKEN_TYPE
    text = "only user tokens are supported here: tenant.logout revokes a tenant token, key.revoke an API key"


class Forbidden(AuthError):
    """The credential is valid, but does not allow this. The detail `permission` names the missing permission, if that
    is the reason."""

    code = ErrorCode.FORBIDDEN
    text = "the credential does not allow this"

    @classmethod
    def without(cls, permission: str) -> Self:
        """Return the error for a credential that lacks a permission."""
        return cls(f"the credential lacks the permission {permission}", details={"permission": permission})


class InvalidScope(AuthError):
    """The scope of an access token names an unknown permission, or one that the API key lacks."""

    code = ErrorCode.INVALID_SCOPE
    text = "scope must name permissions of the API key, separated by single spaces"


class InvalidCredentials(AuthError):
    """No account has this login or the secret is wrong. The reply does not say which."""

    code = ErrorCode.INVALID_CREDENTIALS
    text = "invalid credentials"


class RegistrationForbidden(AuthError):
    """The service does not allow this caller to register a tenant."""

    code = ErrorCode.REGISTRATION_FORBIDDEN
    text = "registration is not allowed from here"


class TenantNotFound(AuthError):
    """No tenant has this id or email. Only operators and callers with the registration key get this error."""

    code = ErrorCode.TENANT_NOT_FOUND
    text = "tenant is not found"


class UserNotFound(AuthError):
    """The tenant has no user with this login."""

    code = ErrorCode.USER_NOT_FOUND
    text = "user is not found"


class SessionNotFound(AuthError):
    """The user has no live session with this id."""

    code = ErrorCode.SESSION_NOT_FOUND
    text = "session is not found"


class KeyNotFound(AuthError):
    """The tenant has no live API key with this id."""

    code = ErrorCode.KEY_NOT_FOUND
    text = "API key is not found"


class LoginTaken(AuthError):
    """The tenant already has a user with this login."""

    code = ErrorCode.LOGIN_TAKEN
    text = "login is taken"


class EmailTaken(AuthError):
    """A tenant with this email already exists."""

    code = ErrorCode.EMAIL_TAKEN
    text = "email is taken"


class KeyLimitReached(AuthError):
    """The tenant has the maximum number of live API keys, or the key that of live secrets."""

    code = ErrorCode.KEY_LIMIT_REACHED
    text = "the tenant has the maximum number of API keys; revoke one first"


class InternalError(AuthError):
    """A fault of the service. `incident` is its id in the worker's log."""

    code = ErrorCode.INTERNAL
    text = "internal error"

    def __init__(self, message: str | None = None, incident: str | None = None) -> None:
        self.incident = incident
        super().__init__(message)

    def _members(self) -> dict[str, Any]:
        return {"incident": self.incident}

    @classmethod
    def _from_reply(cls, reply: ErrorReply) -> Self:
        return cls(reply.message, reply.incident)


class ServiceCredentialsRejected(AuthError):
    """The tenant credentials that the calling service connected with are rejected, or missing.

    No user can fix this: only the operator of the service can. The client library raises it. Its
    `code` and `details` are those of the service if a newer service gives a reason of its own.
    """

    code = "service_credentials_rejected"
    text = "tenant login is rejected: check `email` and `password` of this service, and that its tenant is enabled"


class Temporary(AuthError):
    """A temporary error: the caller may retry after `retry_after_seconds`.

    An instance of this class itself, not of a subclass, has a `code` that only a newer service
    knows.
    """

    text = "request cannot be served now, try again later"

    def __init__(
        self,
        message: str | None = None,
        retry_after_seconds: int = RETRY_AFTER_SECONDS,
        *,
        details: Mapping[str, bool | int | str] | None = None,
    ) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message, details=details)

    def _members(self) -> dict[str, Any]:
        return {"retry_after_seconds": self.retry_after_seconds}

    @classmethod
    def _from_reply(cls, reply: ErrorReply) -> Self:
        return cls(reply.message, reply.retry_after_seconds or RETRY_AFTER_SECONDS)


class Throttled(Temporary):
    """Too many attempts: refused without checking the password, or after too many wrong secrets of API keys. Retry
    after the given time."""

    code = ErrorCode.THROTTLED
    text = "too many attempts, try again later"


class Unavailable(Temporary):
    """No worker, broker or database is available. The operation may have been done. Retry in a
    moment."""

    code = ErrorCode.UNAVAILABLE
    text = "service is unavailable, try again"


class Overloaded(Temporary):
    """Refused before anything was done: the lane's queue, or the tenant's share of a worker, is
    full, or the request waited in the queue for almost its whole time. The retry time is one of
    `OVERLOADED_RETRY_SECONDS`, unless it is given."""

    code = ErrorCode.OVERLOADED
    text = "service is overloaded, try again later"

    def __init__(self, message: str | None = None, retry_after_seconds: int | None = None) -> None:
        if retry_after_seconds is None:
            retry_after_seconds = random.choice(OVERLOADED_RETRY_SECONDS)  # noqa: S311 - jitter is no secret
        super().__init__(message, retry_after_seconds)


class DeadlineExceeded(Temporary):
    """No reply arrived in time. The operation may have been done: retry only repeatable
    operations."""

    code = ErrorCode.DEADLINE_EXCEEDED
    text = "no answer in time"


#: Errors of the service that say nothing about the request: it is neither accepted nor refused.
OUTAGES = (Temporary, InternalError)


def from_reply(reply: ErrorReply) -> AuthError:
    """Return the exception for a received error.

    For a code that only a newer service knows, this is an `AuthError` or, with a retry time, a
    `Temporary`.
    """
    unknown = AuthError if reply.retry_after_seconds is None else Temporary
    error = ERRORS.get(reply.code, unknown)._from_reply(reply)  # noqa: SLF001 - the tree's own constructor
    error.code, error.details = reply.code, reply.details
    return error


#: Texts in place of those of pydantic that name types of Python.
JSON_TEXTS: Final = {
    "frozen_set_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} item{plural}",
    "too_long": "must have at most {max_length} item{plural}",
}


def _message(error: Any) -> str:
    text = JSON_TEXTS.get(error["type"])
    if text is None:
        return str(error["msg"]).removeprefix("Value error, ")
    context = error.get("ctx", {})
    plural = "" if 1 in (context.get("min_length"), context.get("max_length")) else "s"
    return text.format(plural=plural, **context)


def field_problems(errors: Sequence[Any], *, skip: int = 0) -> list[FieldProblem]:
    """Convert pydantic's error details into field problems.

    `skip` is the number of leading path parts to drop, such as `body`. At most `MAX_PROBLEMS` are
    kept.
    """
    return [
        FieldProblem(
            field=".".join(str(part) for part in error["loc"][skip:]) or "(whole)",
            message=_message(error),
        )
        for error in errors[:MAX_PROBLEMS]
    ]


#: The class of each code that a reply may have.
ERRORS: dict[str, type[AuthError]] = {
    error.code: error
    for error in (*AuthError.__subclasses__(), *Temporary.__subclasses__())
    if error not in {Temporary, ServiceCredentialsRejected}
}
