"""What can go wrong, as codes on the wire and as exceptions on both sides of it.

AuthError
├── BadRequest               the message is not one of this service's
├── InvalidRequest           a field is wrong; lists every bad one
├── InvalidTenantToken       the caller is not a tenant
├── InvalidToken             the token asked about is not valid
├── InvalidCredentials       no such account, or not its password: nobody learns which
├── RegistrationForbidden
├── TenantNotFound
├── UserNotFound
├── SessionNotFound
├── LoginTaken
├── EmailTaken
├── InternalError            a fault of the service, named by an incident id
└── Temporary                worth another try, and when
    ├── Throttled            too many such attempts, of this account or from this address
    ├── Unavailable          no worker, no broker or no database at the moment
    ├── Overloaded           more work is waiting than can be done in time
    └── DeadlineExceeded     no answer in time; the operation may or may not have happened

A worker raises one of these, the consumer sends its `ErrorReply`, the RPC client raises the same class again. A code
that only a newer worker knows becomes a bare `AuthError`, or a bare `Temporary` if the reply says when to try again
(docs/decisions/0032).
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, StringConstraints, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from .wire import WireModel

#: Of a request with more bad fields than that, these are enough to see what is wrong.
MAX_PROBLEMS = 20
#: Where nobody knows better: long enough for a worker or the broker to come back, short enough for a person to wait.
RETRY_AFTER_SECONDS = 1
#: These two bound the details of an error. They never grow: an older peer leaves out details beyond them.
MAX_DETAILS = 8
MAX_DETAIL_CHARS = 256
#: Integers that every JSON parser reads exactly (RFC 8259, 6).
MAX_DETAIL_INTEGER = 2**53 - 1


class ErrorCode(StrEnum):
    """What a machine reads. Codes are never renamed."""

    BAD_REQUEST = "bad_request"
    INVALID_REQUEST = "invalid_request"
    INVALID_TENANT_TOKEN = "invalid_tenant_token"  # noqa: S105 - a code, not a token
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a code, not a token
    INVALID_CREDENTIALS = "invalid_credentials"
    THROTTLED = "throttled"
    REGISTRATION_FORBIDDEN = "registration_forbidden"
    TENANT_NOT_FOUND = "tenant_not_found"
    USER_NOT_FOUND = "user_not_found"
    SESSION_NOT_FOUND = "session_not_found"
    LOGIN_TAKEN = "login_taken"
    EMAIL_TAKEN = "email_taken"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    INTERNAL = "internal"


def _only_within_bounds(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Leave out details that break their bounds: the error matters more than they do."""
    try:
        return read(value)
    except ValidationError:
        return {}


#: How every code is spelled, now and later: it goes into logs and metrics, also at peers that do not know it.
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
DetailName = Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9]{0,63}$")]
DetailValue = (
    bool
    | Annotated[int, Field(ge=-MAX_DETAIL_INTEGER, le=MAX_DETAIL_INTEGER)]
    | Annotated[str, StringConstraints(max_length=MAX_DETAIL_CHARS)]
)
#: What a machine may read about an error besides its code. Never a secret, nor what the caller sent.
Details = Annotated[dict[DetailName, DetailValue], Field(max_length=MAX_DETAILS), WrapValidator(_only_within_bounds)]


class FieldProblem(WireModel):
    """One bad field of a request: its path with dots, and what was expected of it."""

    field: str
    message: str


class ErrorReply(WireModel):
    """An error as it travels. `incident` finds an internal fault in the worker's log."""

    code: Annotated[ErrorCode | Code, Field(union_mode="left_to_right")]
    """A newer worker may answer a code that is not in the list. It is temporary if the reply has `retryAfterSeconds`,
    and a refusal otherwise."""
    message: str
    problems: tuple[FieldProblem, ...] = ()
    incident: str | None = None
    retry_after_seconds: int | None = None
    """When another try is worth it, of what passes by itself."""
    details: Details = Field(default_factory=dict)
    """What a machine may read about the error, by name: 8 members at most. There may be new ones."""


class AuthError(Exception):
    """An answer that is not the one asked for. `str()` is the public text.

    A bare one is a refusal whose `code` only a newer service knows.
    """

    code: str
    """One of `ErrorCode`, or of a newer service's."""
    text: ClassVar[str] = "request is refused"

    def __init__(self, message: str | None = None, *, details: Mapping[str, bool | int | str] | None = None) -> None:
        self.details = dict(details or {})
        super().__init__(message or self.text)

    def to_reply(self) -> ErrorReply:
        """This error as it travels."""
        details = {"details": self.details} if self.details else {}
        return ErrorReply(code=self.code, message=str(self), **self._members(), **details)

    def _members(self) -> dict[str, Any]:
        """The members of the reply that errors of this class alone have."""
        return {}

    @classmethod
    def _from_reply(cls, reply: ErrorReply) -> Self:
        return cls(reply.message)


class BadRequest(AuthError):
    """The message itself cannot be understood: its encoding, its type or its properties."""

    code = ErrorCode.BAD_REQUEST
    text = "malformed request"


class InvalidRequest(AuthError):
    """The message is understood and breaks a rule of its contract. `problems` lists every bad field."""

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
        """The fields pydantic complained about, without what was in them."""
        return cls(problems=field_problems(error.errors(include_input=False, include_url=False)))

    @classmethod
    def _from_reply(cls, reply: ErrorReply) -> Self:
        return cls(reply.message, reply.problems)


class InvalidTenantToken(AuthError):
    code = ErrorCode.INVALID_TENANT_TOKEN
    text = "invalid tenant token"


class InvalidToken(AuthError):
    code = ErrorCode.INVALID_TOKEN
    text = "invalid token"


class InvalidCredentials(AuthError):
    code = ErrorCode.INVALID_CREDENTIALS
    text = "invalid credentials"


class RegistrationForbidden(AuthError):
    code = ErrorCode.REGISTRATION_FORBIDDEN
    text = "registration is not allowed from here"


class TenantNotFound(AuthError):
    """Told to holders of the registration key alone."""

    code = ErrorCode.TENANT_NOT_FOUND
    text = "tenant is not found"


class UserNotFound(AuthError):
    code = ErrorCode.USER_NOT_FOUND
    text = "user is not found"


class SessionNotFound(AuthError):
    code = ErrorCode.SESSION_NOT_FOUND
    text = "session is not found"


class LoginTaken(AuthError):
    code = ErrorCode.LOGIN_TAKEN
    text = "login is taken"


class EmailTaken(AuthError):
    code = ErrorCode.EMAIL_TAKEN
    text = "email is taken"


class InternalError(AuthError):
    """A fault of the service. `incident` finds it in the worker's log."""

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


class Temporary(AuthError):
    """What passes by itself, by all that is known after `retry_after_seconds`.

    A bare one has a `code` that only a newer service knows.
    """

    text = "request cannot be served now, try again later"

    def __init__(self, message: str | None = None, retry_after_seconds: int = RETRY_AFTER_SECONDS) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)

    def _members(self) -> dict[str, Any]:
        return {"retry_after_seconds": self.retry_after_seconds}

    @classmethod
    def _from_reply(cls, reply: ErrorReply) -> Self:
        return cls(reply.message, reply.retry_after_seconds or RETRY_AFTER_SECONDS)


class Throttled(Temporary):
    """Refused before the password was looked at. Worth another try after `retry_after_seconds`, and not before."""

    code = ErrorCode.THROTTLED
    text = "too many attempts, try again later"


class Unavailable(Temporary):
    """Nothing was done, or it is not known whether it was. Worth another try in a moment."""

    code = ErrorCode.UNAVAILABLE
    text = "service is unavailable, try again"


class Overloaded(Temporary):
    """Refused before anything was done: the lane's queue is full, or the tenant's share of a worker. After
    `retry_after_seconds` what fills it now is worked off."""

    code = ErrorCode.OVERLOADED
    text = "service is overloaded, try again later"


class DeadlineExceeded(Temporary):
    """The answer did not come in time. Only operations that are safe to repeat are worth another try."""

    code = ErrorCode.DEADLINE_EXCEEDED
    text = "no answer in time"


def from_reply(reply: ErrorReply) -> AuthError:
    """Return the exception that a received error stands for; a bare one for a code that only a newer service knows."""
    unknown = AuthError if reply.retry_after_seconds is None else Temporary
    error = ERRORS.get(reply.code, unknown)._from_reply(reply)  # noqa: SLF001 - the tree's own constructor
    error.code, error.details = reply.code, reply.details
    return error


def field_problems(errors: Sequence[Any], *, skip: int = 0) -> list[FieldProblem]:
    """Pydantic's error details as field problems; `skip` drops leading parts of each path, such as `body`."""
    return [
        FieldProblem(
            field=".".join(str(part) for part in error["loc"][skip:]) or "(whole)",
            message=error["msg"].removeprefix("Value error, "),
        )
        for error in errors[:MAX_PROBLEMS]
    ]


ERRORS: dict[str, type[AuthError]] = {
    error.code: error for error in (*AuthError.__subclasses__(), *Temporary.__subclasses__()) if error is not Temporary
}
