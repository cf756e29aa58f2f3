"""The type `Operation`: a name, a lane, a request, a reply and the errors that workers may reply
with."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Generic, TypeVar

from .address import ClientAddress
from .errors import AuthError
from .permissions import Permission
from .wire import Name, OrAbsent, Token, WireModel

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
    deadline exceeded and internal. An operation that may answer `invalid_tenant_token` may also
    answer `throttled`, after too many wrong secrets of API keys."""
    repeatable: bool = False
    """Whether a caller that got no reply may retry with the same message id, the idempotency key.
    Such an operation only reads, or returns its first result again."""
    max_body_bytes: int = MAX_BODY_BYTES
    """Largest request body in bytes. Workers refuse a larger one without parsing it."""
    permission: Permission | None = None
    """The permission that the caller's credential must have. None: the operation needs no credential, or another
    proof."""
    also_needs: Permission | None = None
    """A second permission that the credential must have besides `permission`."""
    of_operator: Permission | None = None
    """The permission that an operator's token must have, at an operation for which other callers prove themselves by a
    password or a key."""
    audited: bool = False
    """Whether the tenant's audit trail gets a record of each request. Operations that only read,
    such as `auth.verify`, are not audited."""


class TenantRequest(WireModel):
    """A request to a tenant's data, authenticated by a credential. Only the worker verifies the credential."""

    tenant_token: Token
    """The caller's credential: a tenant token, an API key, an access token or an operator's token."""
    on_tenant: Annotated[Name | None, OrAbsent()] = None
    """The id of the tenant to act on. Operators must name it, and no other caller may name a tenant but its own."""
    caller_address: ClientAddress | None = None
    """The caller's IP address as the edge sees it. Workers ignore it in requests that a service sends."""


class OperatorRequest(TenantRequest):
    """A request of an operator, which names the tenant."""

    on_tenant: Name
    """The id of the tenant."""


class Done(WireModel):
    """The reply to a successful operation without data. `result` is `1`, as in Jincor Auth 1."""

    result: int

    @classmethod
    def now(cls) -> "Done":
        """Return the reply with `result` 1."""
        return cls(result=1)
