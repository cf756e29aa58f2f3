"""The estimated time to drain a full queue."""

import contextlib

import pytest

from shared.amqp.drain_estimate import MAX_MEASUREMENT_AGE_SECONDS, DrainEstimate

TIMEOUT_SECONDS = 60


class Clock:
    """A clock that stands still until a test moves it."""

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


def measure_call(pace: DrainEstimate, clock: Clock, seconds: float) -> None:
    """Measure one call of this duration."""
    with pace.measure():
        clock.now += seconds


def estimate(pace: DrainEstimate) -> int:
    return pace.retry_after_seconds(TIMEOUT_SECONDS)


def test_estimate_without_a_measurement_is_one_second(pace: DrainEstimate) -> None:
    assert estimate(pace) == 1


@pytest.mark.parametrize(("seconds", "expected"), [(0.004, 1), (1.0, 1), (1.01, 2), (4.2, 5)])
def test_estimate_is_the_duration_of_the_last_call_rounded_up(
    pace: DrainEstimate, clock: Clock, seconds: float, expected: int
) -> None:
    measure_call(pace, clock, 30)
    measure_call(pace, clock, seconds)
    assert estimate(pace) == expected


def test_estimate_grows_with_the_calls_in_flight(pace: DrainEstimate, clock: Clock) -> None:
    """The last measured calls found a queue that was still empty."""
    measure_call(pace, clock, 0.5)
    with contextlib.ExitStack() as in_flight:
        for _ in range(16):
            in_flight.enter_context(pace.measure())
        assert estimate(pace) == 8
    assert estimate(pace) == 1


def test_estimate_does_not_shrink_with_fewer_calls_in_flight(pace: DrainEstimate, clock: Clock) -> None:
    """A drop in our own calls does not mean a shorter queue."""
    with contextlib.ExitStack() as in_flight:
        for _ in range(15):
            in_flight.enter_context(pace.measure())
        measure_call(pace, clock, 4)
    assert estimate(pace) == 4


def test_estimate_is_at_most_the_timeout_rounded_up(pace: DrainEstimate, clock: Clock) -> None:
    """Messages older than the timeout are dropped."""
    measure_call(pace, clock, 30)
    assert pace.retry_after_seconds(2.5) == 3
    assert pace.retry_after_seconds(0.1) == 1


def test_estimate_ignores_old_measurements(pace: DrainEstimate, clock: Clock) -> None:
    """The number of workers may have changed."""
    measure_call(pace, clock, 30)
    clock.now += MAX_MEASUREMENT_AGE_SECONDS
    assert estimate(pace) == 30
    clock.now += 0.1
    assert estimate(pace) == 1


def test_estimate_ignores_calls_without_an_answer(pace: DrainEstimate, clock: Clock) -> None:
    """Such a call says nothing about the length of the queue."""
    with contextlib.suppress(TimeoutError), pace.measure():
        clock.now += 30
        raise TimeoutError
    assert estimate(pace) == 1
    measure_call(pace, clock, 3)
    assert estimate(pace) == 3
