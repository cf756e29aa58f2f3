"""settings.get: return the tenant's settings."""

from .errors import Forbidden, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .settings import TenantSettings


class SettingsGetRequest(TenantRequest):
    pass


SETTINGS_GET = Operation(
    "settings.get",
    Lane.MANAGE,
    SettingsGetRequest,
    TenantSettings,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    permission=Permission.TENANT_READ,
)
