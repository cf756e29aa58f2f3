"""The clock for the age of cached answers and of the last feed probe."""

import time


def elapsed_seconds() -> float:
    """Return seconds since an arbitrary start. The clock cannot be set, and runs while the machine
    sleeps.

    On Linux, `time.monotonic` stops during sleep. A token verified before the sleep would count as
    fresh.
    """
    return _read()


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_read = _boot_time if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
