"""What an operation is: a name, a lane, the two messages, and the errors it may answer with."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from .errors import AuthError
from .wire import Token, WireModel

#: Several times the largest valid request, which holds a scope, two tokens and some names.
MAX_BODY_BYTES = 131_072

RequestT = TypeVar("RequestT", bound=WireModel)
ReplyT = TypeVar("ReplyT", bound=WireModel)


class Lane(StrEnum):
    """A class of work with a queue and workers of its own, so that slow work never stands before fast work."""

    VERIFY = "verify"
    """Reads that answer in milliseconds and stand before every request of every product."""
    MANAGE = "manage"
    """Reads and writes without a password in them."""
    PASSWORD = "password"  # noqa: S105 - the lane's name
    """Everything that runs argon2, and so takes tens of milliseconds of a core."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[RequestT, ReplyT]):
    """One thing a worker does. `name` is its routing key, its file, its function and its row in every table."""

    name: str
    lane: Lane
    request: type[RequestT]
    reply: type[ReplyT]
    errors: tuple[type[AuthError], ...] = ()
    """What it may answer with, beyond what any operation may: invalid, unavailable, overloaded, late, internal."""
    repeatable: bool = False
    """Whether a caller that does not know its fate may send it again under the same message id: it reads only, or
    answers the second time as it did the first."""
    max_body_bytes: int = MAX_BODY_BYTES
    """A larger request is refused unread."""


class TenantRequest(WireModel):
    """A request that a tenant makes, proven by its token. The worker checks it, nobody else."""

    tenant_token: Token


class Done(WireModel):
    """It is done. `1` is what the first Jincor Auth answered."""

    result: int

    @classmethod
    def now(cls) -> "Done":
        return cls(result=1)
