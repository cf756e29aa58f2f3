"""Lowers the scheduling priority of this process: its niceness, and that of its session."""

import contextlib
import os
from pathlib import Path

#: The niceness of the session. With Linux's CONFIG_SCHED_AUTOGROUP (sched(7), "The autogroup
#: feature") each session gets an equal share of the cores, and a process's niceness applies only
#: within its session.
AUTOGROUP = Path("/proc/self/autogroup")


def yield_cores(niceness: int, autogroup: Path = AUTOGROUP) -> None:
    """Raise the niceness of this process, and of its session if the process leads it.

    This has no effect across control groups, such as containers: their shares are set from outside.
    """
    os.nice(niceness)
    if niceness and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # the file is absent or read-only, and the process's niceness has to suffice
            autogroup.write_text(str(niceness))
