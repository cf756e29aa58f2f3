"""key.create: create an API key. The reply shows the key, once.

A caller that repeats a request because it got no reply gets the same key with one more secret. Each
reply that arrives can be used.
"""

from typing import Annotated

from pydantic import Field

from .errors import Forbidden, InvalidTenantToken, KeyLimitReached, KeyNotFound
from .key import IssuedKey, Networks
from .operation import Lane, Operation, TenantRequest
from .permissions import KeyPermissions, Permission
from .wire import Name, WireModel

#: Live keys of one tenant. `key.list` returns all of them.
MAX_KEYS = 100
#: Ten years: longer than any key should be used without a rotation, which renews it.
MAX_EXPIRY_DAYS = 3_653


class KeyCreateBody(WireModel):
    name: Name
    """The purpose of the key, for people. Two keys may have the same name."""
    permissions: KeyPermissions
    """At least one, and none that the creator lacks."""
    expires_in_days: Annotated[int, Field(ge=1, le=MAX_EXPIRY_DAYS)] = 365
    """A rotation renews the key for the same time."""
    networks: Networks = ()
    """The networks that the key may be used from, in CIDR notation. Empty: everywhere. A creator that is itself a key
    with networks must name networks within its own. Services that send requests over AMQP cannot use a key with
    networks: their address is not known."""


class KeyCreateRequest(KeyCreateBody, TenantRequest):
    pass


KEY_CREATE = Operation(
    "key.create",
    Lane.MANAGE,
    KeyCreateRequest,
    IssuedKey,
    (InvalidTenantToken, Forbidden, KeyNotFound, KeyLimitReached),
    repeatable=True,
    audited=True,
    permission=Permission.KEYS_WRITE,
)
