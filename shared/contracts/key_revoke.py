"""key.revoke: revoke an API key. The key and its access tokens are refused from the reply on."""

from .errors import Forbidden, InvalidTenantToken, KeyNotFound
from .key import KeyId
from .operation import Done, Lane, Operation, TenantRequest
from .permissions import Permission


class KeyRevokeRequest(TenantRequest):
    id: KeyId
    """The id of the key. The caller must have all permissions of the key."""


KEY_REVOKE = Operation(
    "key.revoke",
    Lane.MANAGE,
    KeyRevokeRequest,
    Done,
    (InvalidTenantToken, Forbidden, KeyNotFound),
    repeatable=True,
    audited=True,
    permission=Permission.KEYS_WRITE,
)
