"""For how long a refusal is remembered, and of what."""

from shared.amqp.refusals import REMEMBERED_SECONDS, STUCK_SECONDS, Refusals


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


def test_what_is_only_refused_for_long_is_stuck() -> None:
    """From the first refusal on, if nothing was taken since, and never at the first."""
    now = [100.0]
    refusals = Refusals(clock=lambda: now[0])

    def refused() -> bool:
        refusals.remember("auth.verify")
        return refusals.stuck("auth.verify")

    assert not refusals.stuck("auth.verify")
    assert not refused()
    now[0] += STUCK_SECONDS
    assert not refused()
    now[0] += 0.1
    assert refused()
    refusals.taken("auth.verify")
    assert not refused()
    now[0] += STUCK_SECONDS + 0.1
    assert refused()
    refusals.forget()
    assert not refused()
