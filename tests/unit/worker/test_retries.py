"""Retry delays of an event that a subscriber's queue has refused."""

from datetime import timedelta
from itertools import accumulate

from worker.adapters.index_definitions import SESSION_KEPT_SECONDS
from worker.domain.retries import FIRST_DELAY, LONGEST_DELAY, MAX_REFUSALS, retry_delay

DELAYS = [delay for refusals in range(1, MAX_REFUSALS) if (delay := retry_delay(refusals))]


def test_retry_delays_grow_from_the_first_to_the_longest() -> None:
    assert DELAYS[0] == FIRST_DELAY
    assert DELAYS[-1] == LONGEST_DELAY
    assert sorted(DELAYS) == DELAYS


def test_retry_delay_is_at_most_the_time_since_the_first_refusal() -> None:
    """A queue that was full for an hour receives everything within another hour."""
    for since_first, delay in zip(accumulate(DELAYS), DELAYS[1:], strict=False):
        assert delay <= since_first + FIRST_DELAY
        assert delay <= LONGEST_DELAY


def test_retries_last_almost_19_hours_and_end_before_the_event_is_removed() -> None:
    """The documents state this duration."""
    assert len(DELAYS) == MAX_REFUSALS - 1
    assert retry_delay(MAX_REFUSALS) is None
    assert timedelta(hours=18.5) < sum(DELAYS, timedelta()) < timedelta(hours=19)
    assert sum(DELAYS, timedelta()) < timedelta(seconds=SESSION_KEPT_SECONDS)
