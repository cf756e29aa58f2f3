"""Values that several tests share."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from worker.domain.attempts import Limit, Throttle
from worker.domain.ports import (
    Lifetimes,
)

#: The initial time of a `FakeClock`.
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
ISSUER = "auth.test"
MASTER_KEYS = {"test": bytes(range(32))}
REGISTRATION_KEY = "the registration key"
#: Refused passwords; no test uses one except to see it refused.
COMMON_PASSWORDS = frozenset({"password", "iloveyou"})
LIFETIMES = Lifetimes(
    tenant=timedelta(days=2), user=timedelta(days=1), operator=timedelta(hours=8), access_token=timedelta(minutes=30)
)
#: The default limit of an account, without a maximum of consecutive failures.
LIMIT = Limit(undelayed=5, longest_wait=timedelta(seconds=60), window=timedelta(hours=1))
#: The limit of an account for addresses that never logged in to it.
STRANGERS = replace(LIMIT, max_consecutive=100)
THROTTLE = Throttle(
    account=STRANGERS, address=replace(LIMIT, undelayed=20), known_for=timedelta(days=30), registration_key=LIMIT
)
