"""For how long a refusal is remembered, and of what."""

from shared.amqp.refusals import REMEMBERED_SECONDS, Refusals


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
