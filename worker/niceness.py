"""How a process yields its cores to others: its niceness, and that of its session."""

import contextlib
import os
from pathlib import Path

#: Linux with CONFIG_SCHED_AUTOGROUP (sched(7), "The autogroup feature"): each session gets an equal share of the cores,
#: and niceness counts among processes of the same session only. This is the niceness of the session.
AUTOGROUP = Path("/proc/self/autogroup")


def yield_cores(niceness: int, autogroup: Path = AUTOGROUP) -> None:
    """Makes this process nicer, and its session, if it is its leader and so has it to itself.

    Processes of other control groups, such as other containers, are not yielded to: their shares are set from outside.
    """
    os.nice(niceness)
    if niceness and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # there is none, or it may not be changed: then the niceness above has to do
            autogroup.write_text(str(niceness))
