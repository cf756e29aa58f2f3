"""The garbage collector of a process that serves."""

import gc
from collections.abc import Iterator

import pytest

from shared.process.garbage import ALLOCATION_THRESHOLD, collect_rarely


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


class _Node:
    """Something that refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


def test_what_is_there_is_not_looked_through_again() -> None:
    """Everything alive at the start is out of the collector's sight."""
    kept = [_Node()]
    collect_rarely()
    assert gc.get_freeze_count() > 0
    assert all(each is not kept[0] for each in gc.get_objects())


def test_as_many_objects_as_requests_under_way_hold_are_not_looked_through() -> None:
    """Tens of thousands of objects come and go without a collection."""
    collect_rarely()
    before = gc.get_stats()[0]["collections"]
    assert len([[] for _ in range(ALLOCATION_THRESHOLD // 2)]) == ALLOCATION_THRESHOLD // 2
    assert gc.get_stats()[0]["collections"] == before


def test_garbage_is_collected_all_the_same() -> None:
    """What refers to itself is freed in the end, so that a fault elsewhere does not fill the memory."""
    collect_rarely()
    before = gc.get_stats()[0]["collected"]
    for _ in range(2 * ALLOCATION_THRESHOLD):
        _Node()
    assert gc.get_stats()[0]["collected"] > before
