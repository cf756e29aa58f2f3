"""The meaning of a tenant's settings."""

from datetime import timedelta

from worker.domain.records import StoredTenant

#: Longer than an API key can be asked to live.
NO_LIMIT = timedelta.max


def max_key_lifetime(tenant: StoredTenant) -> timedelta:
    """Return how long an API key of the tenant may live from its creation or rotation on."""
    days = tenant.settings.max_key_lifetime_days
    return NO_LIMIT if days is None else timedelta(days=days)
