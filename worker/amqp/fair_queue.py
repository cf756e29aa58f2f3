"""A queue that tenants share fairly: they take turns, so a tenant with few items is not delayed by one with many.

- Capacity: if the queue is full, the tenant with the most waiting items loses its last one to a
  tenant with fewer ("longest queue drop").
- Slots: a tenant may use a share of the free slots, so that some always stay free. Ports of a
  switch share its memory in this way (Choudhury and Hahne, "Dynamic queue length thresholds for
  shared-memory packet switches", 1998).
"""

from collections import Counter, deque
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")

#: A tenant gets another slot only while more than this many times its own slots are free. So one
#: tenant gets an eighth of 64 slots at most, and twenty tenants with slow items do not use up all.
FREE_SLOTS_PER_TAKEN = 8


class FairQueue(Generic[ItemT]):
    """Waiting items by tenant, and the number of each tenant's items in flight."""

    def __init__(self, capacity: int, slots: int) -> None:
        """Up to `capacity` items wait, and up to `slots` items are in flight: taken and not done."""
        self._capacity = capacity
        self._slots = slots
        self._waiting: dict[str, deque[ItemT]] = {}
        """Waiting items by tenant, in the order of the tenants' turns."""
        self._waiting_in_all = 0
        self._taken: Counter[str] = Counter()

    def put(self, tenant: str, item: ItemT) -> ItemT | None:
        """Add an item. Return the item that is dropped for it: this one, another tenant's last one, or None."""
        dropped = None
        if self._waiting_in_all >= self._capacity:
            longest = max(self._waiting.values(), key=len)
            if len(longest) <= len(self._waiting.get(tenant, ())) + 1:
                return item
            dropped = longest.pop()
            self._waiting_in_all -= 1
        self._waiting.setdefault(tenant, deque()).append(item)
        self._waiting_in_all += 1
        return dropped

    def take(self) -> tuple[str, ItemT] | None:
        """Return the next item with its tenant. None if no item waits, or all tenants with items use their share.

        Each taken item requires a call of `done`, and then another call of `take`.
        """
        free = self._slots - self._taken.total()
        tenant = next((each for each in self._waiting if self._taken[each] * FREE_SLOTS_PER_TAKEN < free), None)
        if tenant is None:
            return None
        items = self._waiting.pop(tenant)
        item = items.popleft()
        if items:
            self._waiting[tenant] = items  # last in the order of turns
        self._waiting_in_all -= 1
        self._taken[tenant] += 1
        return tenant, item

    def done(self, tenant: str) -> None:
        """Free the slot of one item of the tenant."""
        self._taken[tenant] -= 1
        if not self._taken[tenant]:
            del self._taken[tenant]
