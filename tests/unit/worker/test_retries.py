"""How long an event waits that a subscriber's queue has refused."""

from datetime import timedelta
from itertools import accumulate

from worker.adapters.mongo_database import SESSION_KEPT_SECONDS
from worker.domain.retries import FIRST_DELAY, LONGEST_DELAY, MAX_REFUSALS, retry_delay

DELAYS = [delay for refusals in range(1, MAX_REFUSALS) if (delay := retry_delay(refusals))]


def test_the_first_retry_comes_soon_and_none_waits_longer_than_the_longest() -> None:
    assert DELAYS[0] == FIRST_DELAY
    assert DELAYS[-1] == LONGEST_DELAY
    assert sorted(DELAYS) == DELAYS


def test_a_queue_that_was_full_for_an_hour_has_everything_within_another() -> None:
    """No retry comes later than twice the time since the first refusal, before the longest delay is reached."""
    for since_first, delay in zip(accumulate(DELAYS), DELAYS[1:], strict=False):
        assert delay <= since_first + FIRST_DELAY
        assert delay <= LONGEST_DELAY


def test_an_event_is_refused_for_most_of_a_day_and_not_longer_than_it_is_kept() -> None:
    """The documents say almost 19 hours."""
    assert len(DELAYS) == MAX_REFUSALS - 1
    assert retry_delay(MAX_REFUSALS) is None
    assert timedelta(hours=18.5) < sum(DELAYS, timedelta()) < timedelta(hours=19)
    assert sum(DELAYS, timedelta()) < timedelta(seconds=SESSION_KEPT_SECONDS)
