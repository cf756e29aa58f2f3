"""Random waits."""

import pytest

from shared.amqp.jitter import jittered


@pytest.mark.parametrize(("least", "shortest"), [(0.5, 5.0), (0.2, 2.0)])
def test_jittered_wait_of_many_processes_spreads_over_its_whole_range(least: float, shortest: float) -> None:
    waits = sorted(jittered(10.0, least=least) for _ in range(1_000))
    tenth = (10.0 - shortest) / 10
    assert shortest <= waits[0] < shortest + tenth
    assert 10.0 - tenth < waits[-1] <= 10.0
