"""Makes Python's cyclic garbage collector run rarely, because requests create no cyclic garbage."""

import gc

#: Growth in the number of live objects that starts a collection of the youngest generation. A
#: request in flight has hundreds of objects, and dozens of requests are in flight together. With
#: the default of 700 (Python 3.11) every few requests cost a collection, and full collections made
#: the slowest requests three times as slow (docs/performance.md).
ALLOCATION_THRESHOLD = 50_000


def collect_rarely() -> None:
    """Exclude all existing objects from collections, and collect rarely. Call once, after all
    imports."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATION_THRESHOLD)
