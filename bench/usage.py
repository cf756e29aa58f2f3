"""CPU time and memory of processes, from Linux's /proc."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class CpuUse:
    """CPU time that processes use within counted blocks."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._seconds = dict.fromkeys(pids, 0.0)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Add the CPU time used within the block."""
        before = cpu_seconds(self._pids)
        yield
        after = cpu_seconds(self._pids)
        self._seconds = {name: used + after[name] - before[name] for name, used in self._seconds.items()}

    def ms_each(self, times: int) -> dict[str, float]:
        """Return the CPU time of each process in milliseconds, divided by the number of actions."""
        return {name: 1000 * used / times for name, used in self._seconds.items()}


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the CPU time of each process, threads included, by name."""
    return {name: _cpu_seconds(pid) for name, pid in pids.items()}


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kib) / 1024


def _cpu_seconds(pid: int) -> float:
    # proc_pid_stat(5): utime and stime are fields 14 and 15. Field 2, the name, may contain spaces and parentheses.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
