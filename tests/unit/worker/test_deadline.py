"""The time of a call to the database leaves some for the reply, and for calls that clean up."""

import pytest

from worker.domain.deadline import Deadline


@pytest.mark.parametrize(
    ("timeout", "left", "call"),
    [(5.0, 5.0, 4.5), (5.0, 1.0, 0.5), (5.0, 0.4, 0.2), (1.0, 1.0, 0.75), (0.2, 0.2, 0.15), (600.0, 600.0, 599.5)],
)
def test_call_gets_what_is_left_without_the_reserve_and_at_least_half(timeout: float, left: float, call: float) -> None:
    deadline = Deadline.of_request(at=100.0, timeout_seconds=timeout)
    assert deadline.call_seconds(now=100.0 - left) == pytest.approx(call)


def test_call_after_the_deadline_has_no_limit_of_the_request() -> None:
    """An operation that came so far is finished: nobody waits for the reply."""
    assert Deadline.of_request(at=100.0, timeout_seconds=5.0).call_seconds(now=100.5) is None


@pytest.mark.parametrize(("timeout", "left", "close"), [(5.0, 0.6, False), (5.0, 0.4, True), (1.0, 0.4, False)])
def test_deadline_is_close_with_only_the_reserve_left(timeout: float, left: float, *, close: bool) -> None:
    assert Deadline.of_request(at=100.0, timeout_seconds=timeout).is_close(now=100.0 - left) is close
