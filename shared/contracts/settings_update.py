"""settings.update: change the tenant's settings."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from .errors import Forbidden, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .settings import MAX_KEY_LIFETIME_DAYS, TenantSettings
from .wire import WireModel


class SettingsPatch(WireModel):
    """A JSON merge patch (RFC 7396): absent members do not change; null restores the default.

    Unlike elsewhere, unknown members are refused. A setting often limits something, and a misspelt limit
    that seems to be accepted protects nothing.
    """

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    max_key_lifetime_days: Annotated[int, Field(ge=1, le=MAX_KEY_LIFETIME_DAYS)] | None = None
    """The most days that an API key may live from its creation or rotation on. Null: as long as it is asked for.
    Existing keys keep their expiry."""

    @model_validator(mode="before")
    @classmethod
    def _no_others(cls, value: Any) -> Any:
        # Not `extra="forbid"`, whose error repeats the name, which is input.
        known = {name: field.alias or name for name, field in cls.model_fields.items()}
        if isinstance(value, dict) and not value.keys() <= known.keys() | set(known.values()):
            raise ValueError(f"must have no members but {', '.join(known.values())}")
        return value

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("provide at least one setting")
        return self


class SettingsUpdateRequest(TenantRequest):
    settings: SettingsPatch
    """In a member of its own, so that only its unknown members are refused."""


SETTINGS_UPDATE = Operation(
    "settings.update",
    Lane.MANAGE,
    SettingsUpdateRequest,
    TenantSettings,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    audited=True,
    permission=Permission.TENANT_WRITE,
)
