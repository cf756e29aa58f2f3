"""Values that tests share."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from worker.domain.attempts import Limit, Throttle
from worker.domain.ports import (
    Lifetimes,
)

#: When a `FakeClock` begins.
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
ISSUER = "auth.test"
MASTER_KEYS = {"test": bytes(range(32))}
REGISTRATION_KEY = "the registration key"
#: Nobody's choice in the tests, but in those that try them.
COMMON_PASSWORDS = frozenset({"password", "iloveyou"})
LIFETIMES = Lifetimes(tenant=timedelta(days=2), user=timedelta(days=1))
#: That of an account, as it is configured by default, but for the end to it.
LIMIT = Limit(undelayed=5, longest_wait=timedelta(seconds=60), window=timedelta(hours=1))
#: That of strangers to it.
STRANGERS = replace(LIMIT, max_consecutive=100)
THROTTLE = Throttle(
    account=STRANGERS, address=replace(LIMIT, undelayed=20), known_for=timedelta(days=30), registration_key=LIMIT
)
