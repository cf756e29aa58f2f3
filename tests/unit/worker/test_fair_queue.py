"""How tenants share places that are few, and the hands that take from them."""

from worker.amqp.events import MAX_PUBLISHING
from worker.amqp.fair_queue import FairQueue


def fill(queue: FairQueue[str], tenant: str, number: int) -> None:
    for each in range(number):
        queue.put(tenant, f"{tenant} {each}")


def test_one_tenant_may_have_every_place_that_nobody_wants() -> None:
    queue: FairQueue[str] = FairQueue(capacity=3, slots=1)
    assert [queue.put("shop", str(number)) for number in range(4)] == [None, None, None, "3"]


def test_a_tenant_with_many_waiting_gives_up_its_last_for_one_with_few() -> None:
    queue: FairQueue[str] = FairQueue(capacity=3, slots=100)
    fill(queue, "attacker", 3)
    assert queue.put("victim", "v0") == "attacker 2"
    assert queue.put("victim", "v1") == "v1", "taking one more would only turn it around"
    assert [queue.take() for _ in range(3)] == [
        ("attacker", "attacker 0"),
        ("victim", "v0"),
        ("attacker", "attacker 1"),
    ]


def test_however_many_tenants_fill_the_queue_another_finds_a_place() -> None:
    """Each puts more than there are places, one after the other."""
    queue: FairQueue[str] = FairQueue(capacity=1000, slots=1)
    for number in range(20):
        fill(queue, f"attacker-{number}", 2000)
    for number in range(1000 // 21):
        dropped = queue.put("victim", f"v{number}")
        assert dropped is not None
        assert dropped.startswith("attacker")


def test_tenants_take_turns() -> None:
    """The items of one tenant come in their order, and one that comes later does not wait for all of them."""
    queue: FairQueue[str] = FairQueue(capacity=100, slots=100)
    for number in range(3):
        queue.put("attacker", f"a{number}")
    queue.put("victim", "v0")
    queue.put("victim", "v1")
    taken = [queue.take() for _ in range(6)]
    assert [each and each[1] for each in taken] == ["a0", "v0", "a1", "v1", "a2", None]


def test_a_tenant_leaves_most_of_the_hands_free() -> None:
    """So the events of others are published while its own wait for confirmations that do not come."""
    queue: FairQueue[str] = FairQueue(capacity=100, slots=18)
    fill(queue, "attacker", 100)
    assert [queue.take() is None for _ in range(3)] == [False, False, True]
    queue.put("victim", "v0")
    assert queue.take() == ("victim", "v0")
    queue.done("attacker")
    assert queue.take() == ("attacker", "attacker 2")


def test_however_many_hands_are_free_nothing_waits_for_ever() -> None:
    """The last hand is for a tenant that uses none."""
    queue: FairQueue[str] = FairQueue(capacity=100, slots=1)
    fill(queue, "shop", 2)
    assert queue.take() == ("shop", "shop 0")
    assert queue.take() is None
    queue.done("shop")
    assert queue.take() == ("shop", "shop 1")


def test_twenty_tenants_with_slow_items_leave_a_hand_free() -> None:
    """As many hands as there are to publish events with."""
    queue: FairQueue[str] = FairQueue(capacity=10_000, slots=MAX_PUBLISHING)
    for number in range(20):
        fill(queue, f"attacker-{number}", 100)
        while queue.take():
            pass
    queue.put("victim", "v0")
    assert queue.take() == ("victim", "v0")


def test_an_item_is_taken_once_and_none_is_forgotten() -> None:
    queue: FairQueue[str] = FairQueue(capacity=1000, slots=3)
    for tenant in ("a", "b", "c"):
        for number in range(10):
            assert queue.put(tenant, f"{tenant}{number}") is None
    taken = []
    while each := queue.take():
        taken.append(each[1])
        queue.done(each[0])
    assert sorted(taken) == sorted(f"{tenant}{number}" for tenant in "abc" for number in range(10))
