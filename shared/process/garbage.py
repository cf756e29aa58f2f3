"""How often Python looks for garbage that only its collector finds: rarely, since a service's requests leave none."""

import gc

#: By so many objects may those that are alive grow before the youngest are looked through. A request is hundreds of
#: them while it is under way, and some dozens of requests come and go together: with Python's own 700 (of 3.11), each
#: few requests cost a look, and the looks through everything made the slowest ones three times as slow
#: (docs/performance.md).
ALLOCATION_THRESHOLD = 50_000


def collect_rarely() -> None:
    """Call once, when everything is imported: what is there by then is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATION_THRESHOLD)
