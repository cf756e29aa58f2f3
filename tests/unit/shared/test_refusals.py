"""For how long a refusal is remembered, and of what."""

import pytest

from shared.amqp.refusals import REMEMBERED_SECONDS, STUCK_OR_FULL_SECONDS, STUCK_SECONDS, Refusals


def test_a_refusal_is_remembered_for_a_moment() -> None:
    """Then the broker is asked again: it may have room."""
    now = [100.0]
    refusals = Refusals(clock=lambda: now[0])
    assert not refusals.recent("auth.login")
    refusals.remember("auth.login")
    assert refusals.recent("auth.login")
    now[0] += REMEMBERED_SECONDS
    assert not refusals.recent("auth.login")


def test_other_operations_are_not_refused_with_it() -> None:
    """Such as the check of the same lane's health, which has a queue of its own."""
    refusals = Refusals()
    refusals.remember("auth.login")
    assert not refusals.recent("health.password")


@pytest.mark.parametrize(("may_be_full", "seconds"), [(False, STUCK_SECONDS), (True, STUCK_OR_FULL_SECONDS)])
def test_what_is_only_refused_for_long_is_stuck(may_be_full: bool, seconds: float) -> None:
    """From the first refusal on, if nothing was taken since, and never at the first."""
    now = [100.0]
    refusals = Refusals(clock=lambda: now[0])

    def refused() -> bool:
        refusals.remember("auth.verify")
        return refusals.stuck("auth.verify", may_be_full=may_be_full)

    assert not refusals.stuck("auth.verify", may_be_full=may_be_full)
    assert not refused()
    now[0] += seconds
    assert not refused()
    now[0] += 0.1
    assert refused()
    refusals.taken("auth.verify")
    assert not refused()
    now[0] += seconds + 0.1
    assert refused()
    refusals.forget()
    assert not refused()
