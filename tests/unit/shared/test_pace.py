"""What is told about a full queue: how long it takes to be worked off."""

import contextlib

import pytest

from shared.amqp.drain_estimate import MAX_MEASUREMENT_AGE_SECONDS, DrainEstimate

TIMEOUT_SECONDS = 60


class Clock:
    """It stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> DrainEstimate:
    return DrainEstimate(clock)


def answered(pace: DrainEstimate, clock: Clock, seconds: float) -> None:
    """One more call, on its way alone or behind those that are."""
    with pace.measure():
        clock.now += seconds


def told(pace: DrainEstimate) -> int:
    return pace.retry_after_seconds(TIMEOUT_SECONDS)


def test_where_nothing_was_answered_nobody_knows(pace: DrainEstimate) -> None:
    """A second, as when anything else is away."""
    assert told(pace) == 1


@pytest.mark.parametrize(("seconds", "expected"), [(0.004, 1), (1.0, 1), (1.01, 2), (4.2, 5)])
def test_the_way_of_the_call_answered_last(pace: DrainEstimate, clock: Clock, seconds: float, expected: int) -> None:
    """In whole seconds, none of them too few."""
    answered(pace, clock, 30)
    answered(pace, clock, seconds)
    assert told(pace) == expected


def test_more_calls_have_a_longer_way(pace: DrainEstimate, clock: Clock) -> None:
    """A queue that has just filled up is told of by calls that found it empty."""
    answered(pace, clock, 0.5)
    with contextlib.ExitStack() as under_way:
        for _ in range(16):
            under_way.enter_context(pace.measure())
        assert told(pace) == 8
    assert told(pace) == 1


def test_fewer_calls_have_no_shorter_way(pace: DrainEstimate, clock: Clock) -> None:
    """Who finds no room although few calls are this client's own waits behind those of others."""
    with contextlib.ExitStack() as under_way:
        for _ in range(15):
            under_way.enter_context(pace.measure())
        answered(pace, clock, 4)
    assert told(pace) == 4


def test_it_is_never_longer_than_calls_wait(pace: DrainEstimate, clock: Clock) -> None:
    """What nobody waits for any more is thrown away."""
    answered(pace, clock, 30)
    assert pace.retry_after_seconds(2.5) == 3
    assert pace.retry_after_seconds(0.1) == 1


def test_what_was_answered_long_ago_says_nothing(pace: DrainEstimate, clock: Clock) -> None:
    """There may be other workers since."""
    answered(pace, clock, 30)
    clock.now += MAX_MEASUREMENT_AGE_SECONDS
    assert told(pace) == 30
    clock.now += 0.1
    assert told(pace) == 1


def test_a_call_that_is_not_answered_says_nothing(pace: DrainEstimate, clock: Clock) -> None:
    """It was given up, or its caller has gone: the queue may be longer, or it may be gone."""
    with contextlib.suppress(TimeoutError), pace.measure():
        clock.now += 30
        raise TimeoutError
    assert told(pace) == 1
    answered(pace, clock, 3)
    assert told(pace) == 3
