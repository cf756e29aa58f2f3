"""The garbage collector of a serving process."""

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
    """Refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


def test_objects_alive_at_the_start_are_frozen() -> None:
    """The collector no longer scans them."""
    kept = [_Node()]
    collect_rarely()
    assert gc.get_freeze_count() > 0
    assert all(each is not kept[0] for each in gc.get_objects())


def test_allocations_below_the_threshold_cause_no_collection() -> None:
    """Requests in flight hold tens of thousands of objects."""
    collect_rarely()
    before = gc.get_stats()[0]["collections"]
    assert len([[] for _ in range(ALLOCATION_THRESHOLD // 2)]) == ALLOCATION_THRESHOLD // 2
    assert gc.get_stats()[0]["collections"] == before


def test_cyclic_garbage_is_still_collected() -> None:
    """Otherwise a leak elsewhere would fill the memory."""
    collect_rarely()
    before = gc.get_stats()[0]["collected"]
    for _ in range(2 * ALLOCATION_THRESHOLD):
        _Node()
    assert gc.get_stats()[0]["collected"] > before
