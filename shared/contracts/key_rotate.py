"""key.rotate: give an API key a new secret. The old ones work until the overlap ends.

The new secret is valid at once, and the key is valid for its original time from now on. A caller
that repeats a request because it got no reply gets one more secret.
"""

from typing import Annotated

from pydantic import Field

from .errors import Forbidden, InvalidTenantToken, KeyLimitReached, KeyNotFound
from .key import IssuedKey, KeyId
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import WireModel

#: Thirty days.
MAX_OVERLAP_SECONDS = 2_592_000
#: Secrets of one key that are valid at the same time.
MAX_LIVE_SECRETS = 4


class KeyRotateBody(WireModel):
    overlap_seconds: Annotated[int, Field(ge=0, le=MAX_OVERLAP_SECONDS)] = 86_400
    """How long the older secrets work from now on. 0: they end at once."""


class KeyRotateRequest(KeyRotateBody, TenantRequest):
    id: KeyId
    """The id of the key. The caller must have all permissions of the key."""


KEY_ROTATE = Operation(
    "key.rotate",
    Lane.MANAGE,
    KeyRotateRequest,
    IssuedKey,
    (InvalidTenantToken, Forbidden, KeyNotFound, KeyLimitReached),
    repeatable=True,
    audited=True,
    permission=Permission.KEYS_WRITE,
)
