"""A queue that tenants share: they take turns, and a tenant with few items gets them done, whatever others put in.

Places: when all are taken, the tenant with the most waiting gives one up to a tenant with fewer ("longest queue
drop"). Hands: a tenant may use a part of those that are free, as ports of a switch share its memory (Choudhury and
Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998), so that some stay free.
"""

from collections import Counter, deque
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")

#: A tenant takes another hand only while more than so many times its own are free: one tenant alone gets an eighth of
#: 64, and twenty whose items are slow do not get all.
FREE_SLOTS_PER_TAKEN = 8


class FairQueue(Generic[ItemT]):
    """Items that wait, by tenant, and how many of each tenant's are in hand."""

    def __init__(self, capacity: int, slots: int) -> None:
        """Up to `places` items wait, and up to `hands` are taken and not done."""
        self._capacity = capacity
        self._slots = slots
        self._waiting: dict[str, deque[ItemT]] = {}
        """In the order of the tenants' turns."""
        self._waiting_in_all = 0
        self._taken: Counter[str] = Counter()

    def put(self, tenant: str, item: ItemT) -> ItemT | None:
        """Adds the item. Returns the item that has no place any more: this one, another tenant's last, or None."""
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
        """The next item, and its tenant; None if nothing waits, or only of tenants that use their share of hands.

        Each item that is taken needs a call of `done`, and then of `take`.
        """
        free = self._slots - self._taken.total()
        tenant = next((each for each in self._waiting if self._taken[each] * FREE_SLOTS_PER_TAKEN < free), None)
        if tenant is None:
            return None
        items = self._waiting.pop(tenant)
        item = items.popleft()
        if items:
            self._waiting[tenant] = items  # last now: the others' turns come first
        self._waiting_in_all -= 1
        self._taken[tenant] += 1
        return tenant, item

    def done(self, tenant: str) -> None:
        """An item of the tenant is dealt with."""
        self._taken[tenant] -= 1
        if not self._taken[tenant]:
            del self._taken[tenant]
