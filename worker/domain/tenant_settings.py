"""What a tenant's settings mean."""

from datetime import timedelta

from worker.domain.records import StoredTenant


def max_key_lifetime(tenant: StoredTenant) -> timedelta | None:
    """Return how long an API key of the tenant may live from its creation or rotation on. None: no limit of its own."""
    days = tenant.settings.max_key_lifetime_days
    return None if days is None else timedelta(days=days)
