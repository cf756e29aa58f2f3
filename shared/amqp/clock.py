"""The clock that ages and time limits of trust are measured on."""

import time


def elapsed_seconds() -> float:
    """Seconds since some moment. It cannot be set, and goes on while the machine sleeps: what is old then is old.

    `time.monotonic` stands still during sleep on Linux, so that a token verified before it would still count as fresh.
    """
    return _read()


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_read = _boot_time if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
