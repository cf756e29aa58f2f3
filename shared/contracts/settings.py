"""A tenant's settings: the choices that a tenant makes, or an operator makes for it."""

from typing import Annotated

from pydantic import Field

from .wire import OrAbsent, WireModel

#: Ten years, the longest life of an API key.
MAX_KEY_LIFETIME_DAYS = 3_653


class TenantSettings(WireModel):
    """The settings of a tenant. An absent member means the default."""

    max_key_lifetime_days: Annotated[int | None, Field(ge=1, le=MAX_KEY_LIFETIME_DAYS), OrAbsent()] = None
    """The most days that an API key may live from its creation or rotation on. Absent: as long as it is asked for.
    Existing keys keep their expiry."""
