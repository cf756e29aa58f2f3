"""Rows of the report: the memory that the service's processes hold."""

import os
from typing import Final

from bench.report import Figure, Report, Target
from bench.stage import Stage
from bench.usage import resident_mib
from worker.settings import Settings

LIMIT_MIB: Final = 120
#: What a password worker holds besides: argon2's memory, once for each thread.
HASHING_MIB: Final = Settings.model_fields["hash_memory_kib"].default / 1024 * (os.cpu_count() or 1)


def note_memory(stage: Stage, moment: str, report: Report) -> None:
    """What the processes of the service hold at this moment."""
    for name, pid in stage.pids.items():
        report.resident_mib[name] = {**report.resident_mib.get(name, {}), moment: resident_mib(pid)}


def add_memory(report: Report) -> None:
    """What the processes have come to, beside what they may."""
    for name, limit in (
        ("api", LIMIT_MIB),
        ("worker-verify", LIMIT_MIB),
        ("worker-password", LIMIT_MIB + HASHING_MIB),
    ):
        figure = Figure(f"memory of {name}", "MiB", Target(limit, at_most=True))
        figure.add(max(report.resident_mib[name].values()))
        report.add(figure)
