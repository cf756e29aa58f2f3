"""The type `Operation`: a name, a lane, a request, a reply and the errors that workers may reply
with."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from .errors import AuthError
from .wire import Token, WireModel

#: Default limit of a request body: several times the largest valid request, which holds a scope,
#: two tokens and some names.
MAX_BODY_BYTES = 131_072

RequestT = TypeVar("RequestT", bound=WireModel)
ReplyT = TypeVar("ReplyT", bound=WireModel)


class Lane(StrEnum):
    """A class of operations with its own queue and workers, so that slow work does not delay fast
    work."""

    VERIFY = "verify"
    """Verifications: reads of milliseconds, on the path of every request to a tenant's product."""
    MANAGE = "manage"
    """Reads and writes that hash no password."""
    PASSWORD = "password"  # noqa: S105 - the lane's name
    """Operations that run argon2, which takes tens of milliseconds of one core."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[RequestT, ReplyT]):
    """One operation of the workers. `name` is also its routing key and its module."""

    name: str
    lane: Lane
    request: type[RequestT]
    reply: type[ReplyT]
    errors: tuple[type[AuthError], ...] = ()
    """Errors besides those of every operation: bad or invalid request, unavailable, overloaded,
    deadline exceeded and internal."""
    repeatable: bool = False
    """Whether a caller that got no reply may retry with the same message id, the idempotency key.
    Such an operation only reads, or returns its first result again."""
    max_body_bytes: int = MAX_BODY_BYTES
    """Largest request body in bytes. Workers refuse a larger one without parsing it."""
    audited: bool = False
    """Whether the tenant's audit trail gets a record of each request. Operations that only read,
    such as `auth.verify`, are not audited."""


class TenantRequest(WireModel):
    """A request of a tenant, authenticated by its token. Only the worker verifies the token."""

    tenant_token: Token


class Done(WireModel):
    """The reply to a successful operation without data. `result` is `1`, as in Jincor Auth 1."""

    result: int

    @classmethod
    def now(cls) -> "Done":
        """Return the reply with `result` 1."""
        return cls(result=1)
