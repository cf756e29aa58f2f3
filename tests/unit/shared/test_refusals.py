"""For how long a refusal is remembered, and of what."""

from shared.amqp.recent_nacks import REFUSE_LOCALLY_SECONDS, STUCK_SECONDS, RecentNacks


def test_a_refusal_is_remembered_for_a_moment() -> None:
    """Then the broker is asked again: it may have room."""
    now = [100.0]
    refusals = RecentNacks(clock=lambda: now[0])
    assert not refusals.is_recent("auth.login")
    refusals.record_nack("auth.login")
    assert refusals.is_recent("auth.login")
    now[0] += REFUSE_LOCALLY_SECONDS
    assert not refusals.is_recent("auth.login")


def test_other_operations_are_not_refused_with_it() -> None:
    """Such as the check of the same lane's health, which has a queue of its own."""
    refusals = RecentNacks()
    refusals.record_nack("auth.login")
    assert not refusals.is_recent("health.password")


def test_what_is_only_refused_for_long_is_stuck() -> None:
    """From the first refusal on, if nothing was taken since, and never at the first."""
    now = [100.0]
    refusals = RecentNacks(clock=lambda: now[0])

    def refused() -> bool:
        refusals.record_nack("auth.verify")
        return refusals.is_stuck("auth.verify")

    assert not refusals.is_stuck("auth.verify")
    assert not refused()
    now[0] += STUCK_SECONDS
    assert not refused()
    now[0] += 0.1
    assert refused()
    refusals.record_ack("auth.verify")
    assert not refused()
    now[0] += STUCK_SECONDS + 0.1
    assert refused()
    refusals.clear()
    assert not refused()
