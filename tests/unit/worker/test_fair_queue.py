"""Fair sharing of a queue's capacity and of its publishing slots between tenants."""

from worker.amqp.events import MAX_PUBLISHING
from worker.amqp.fair_queue import FairQueue


def fill(queue: FairQueue[str], tenant: str, number: int) -> None:
    for each in range(number):
        queue.put(tenant, f"{tenant} {each}")


def test_single_tenant_may_use_the_whole_capacity() -> None:
    queue: FairQueue[str] = FairQueue(capacity=3, slots=1)
    assert [queue.put("shop", str(number)) for number in range(4)] == [None, None, None, "3"]


def test_full_queue_drops_the_last_item_of_the_largest_tenant_for_a_smaller_one() -> None:
    queue: FairQueue[str] = FairQueue(capacity=3, slots=100)
    fill(queue, "attacker", 3)
    assert queue.put("victim", "v0") == "attacker 2"
    assert queue.put("victim", "v1") == "v1", "one more would only reverse the imbalance"
    assert [queue.take() for _ in range(3)] == [
        ("attacker", "attacker 0"),
        ("victim", "v0"),
        ("attacker", "attacker 1"),
    ]


def test_queue_filled_by_many_tenants_admits_another() -> None:
    """Each of them puts more items than the capacity."""
    queue: FairQueue[str] = FairQueue(capacity=1000, slots=1)
    for number in range(20):
        fill(queue, f"attacker-{number}", 2000)
    for number in range(1000 // 21):
        dropped = queue.put("victim", f"v{number}")
        assert dropped is not None
        assert dropped.startswith("attacker")


def test_items_are_taken_from_tenants_in_turn() -> None:
    """The items of one tenant keep their order."""
    queue: FairQueue[str] = FairQueue(capacity=100, slots=100)
    for number in range(3):
        queue.put("attacker", f"a{number}")
    queue.put("victim", "v0")
    queue.put("victim", "v1")
    taken = [queue.take() for _ in range(6)]
    assert [each and each[1] for each in taken] == ["a0", "v0", "a1", "v1", "a2", None]


def test_single_tenant_leaves_most_slots_free() -> None:
    """The events of others are published while its own wait for confirms."""
    queue: FairQueue[str] = FairQueue(capacity=100, slots=18)
    fill(queue, "attacker", 100)
    assert [queue.take() is None for _ in range(3)] == [False, False, True]
    queue.put("victim", "v0")
    assert queue.take() == ("victim", "v0")
    queue.done("attacker")
    assert queue.take() == ("attacker", "attacker 2")


def test_last_slot_is_given_to_a_tenant_without_one() -> None:
    """Therefore no item waits for ever, even with one slot."""
    queue: FairQueue[str] = FairQueue(capacity=100, slots=1)
    fill(queue, "shop", 2)
    assert queue.take() == ("shop", "shop 0")
    assert queue.take() is None
    queue.done("shop")
    assert queue.take() == ("shop", "shop 1")


def test_twenty_tenants_with_slow_items_leave_a_slot_free() -> None:
    """The number of slots is the one used for events."""
    queue: FairQueue[str] = FairQueue(capacity=10_000, slots=MAX_PUBLISHING)
    for number in range(20):
        fill(queue, f"attacker-{number}", 100)
        while queue.take():
            pass
    queue.put("victim", "v0")
    assert queue.take() == ("victim", "v0")


def test_every_item_is_taken_exactly_once() -> None:
    queue: FairQueue[str] = FairQueue(capacity=1000, slots=3)
    for tenant in ("a", "b", "c"):
        for number in range(10):
            assert queue.put(tenant, f"{tenant}{number}") is None
    taken = []
    while each := queue.take():
        taken.append(each[1])
        queue.done(each[0])
    assert sorted(taken) == sorted(f"{tenant}{number}" for tenant in "abc" for number in range(10))
