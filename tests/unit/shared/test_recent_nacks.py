"""Recent refusals of the broker, by operation."""

from shared.amqp.recent_nacks import REFUSE_LOCALLY_SECONDS, STUCK_SECONDS, RecentNacks


def test_nack_is_recent_for_a_limited_time() -> None:
    """After that, the client asks the broker again."""
    now = [100.0]
    refusals = RecentNacks(clock=lambda: now[0])
    assert not refusals.is_recent("auth.login")
    refusals.record_nack("auth.login")
    assert refusals.is_recent("auth.login")
    now[0] += REFUSE_LOCALLY_SECONDS
    assert not refusals.is_recent("auth.login")


def test_nack_of_one_operation_does_not_affect_another() -> None:
    """The health check of the same lane has its own queue."""
    refusals = RecentNacks()
    refusals.record_nack("auth.login")
    assert not refusals.is_recent("health.password")


def test_operation_with_only_nacks_for_long_is_stuck() -> None:
    """An ack or a new connection resets this."""
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
