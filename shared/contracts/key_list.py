"""key.list: list the live API keys of a tenant, never their secrets."""

from .errors import Forbidden, InvalidTenantToken
from .key import ApiKey
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import WireModel


class KeyListRequest(TenantRequest):
    pass


class KeyListReply(WireModel):
    keys: tuple[ApiKey, ...]
    """All keys that are neither revoked nor expired, newest first."""


KEY_LIST = Operation(
    "key.list",
    Lane.MANAGE,
    KeyListRequest,
    KeyListReply,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    permission=Permission.KEYS_READ,
)
