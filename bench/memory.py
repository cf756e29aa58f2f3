"""Rows of the report: memory of the service's processes."""

import os
from typing import Final

from bench.report import Figure, Report, Target
from bench.stage import Stage
from bench.usage import resident_mib
from worker.settings import Settings

LIMIT_MIB: Final = 120
#: Additional memory of a password worker: argon2's memory for each thread.
HASHING_MIB: Final = Settings.model_fields["hash_memory_kib"].default / 1024 * (os.cpu_count() or 1)


def note_memory(stage: Stage, moment: str, report: Report) -> None:
    """Add the current memory of the service's processes to the report."""
    for name, pid in stage.pids.items():
        report.resident_mib[name] = {**report.resident_mib.get(name, {}), moment: resident_mib(pid)}


def add_memory(report: Report) -> None:
    """Add the highest memory of each process and its limit to the report."""
    for name, limit in (
        ("api", LIMIT_MIB),
        ("worker-verify", LIMIT_MIB),
        ("worker-password", LIMIT_MIB + HASHING_MIB),
    ):
        figure = Figure(f"memory of {name}", "MiB", Target(limit, at_most=True))
        figure.add(max(report.resident_mib[name].values()))
        report.add(figure)
