"""The figures as a table for people and as JSON for what compares them later."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass
class Figure:
    """What was measured, round by round, each time beside a floor; a ratio says more than either."""

    name: str
    floor: str
    unit: str
    values: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)

    def add(self, value: float, floor: float) -> None:
        self.values.append(value)
        self.floors.append(floor)

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def floor_value(self) -> float:
        return statistics.median(self.floors)

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: what disturbs a round disturbs both sides of it."""
        return statistics.median(value / floor for value, floor in zip(self.values, self.floors, strict=True))


def print_table(figures: Sequence[Figure]) -> None:
    rows = [("", "measured", "unit", "floor", "ratio", "the floor is")]
    rows += [
        (each.name, f"{each.value:.4g}", each.unit, f"{each.floor_value:.4g}", f"{each.ratio:.2f}", each.floor)
        for each in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def write_json(figures: Sequence[Figure]) -> Path:
    """Writes `bench/results/latest.json` and returns its path."""
    RESULTS.mkdir(exist_ok=True)
    latest = RESULTS / "latest.json"
    latest.write_text(
        json.dumps(
            {
                "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
                "figures": [
                    {**asdict(each), "value": each.value, "floor_value": each.floor_value, "ratio": each.ratio}
                    for each in figures
                ],
            },
            indent=2,
        )
        + "\n"
    )
    return latest
