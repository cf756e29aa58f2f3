"""The figures of a run, as tables and as JSON. `bench.picture` draws them."""

import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.timing import Timed

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Target:
    """Limit that a figure must meet."""

    limit: float
    at_most: bool = False

    def met(self, score: float) -> bool:
        return score <= self.limit if self.at_most else score >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:,g}"


@dataclass
class Figure:
    """Measured values of all rounds, each with its floor if there is one; their ratio is more reliable than either."""

    name: str
    unit: str
    target: Target
    floor: str = ""
    values: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)

    def add(self, value: float, floor: float | None = None) -> None:
        self.values.append(value)
        if floor is not None:
            self.floors.append(floor)

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """Median of the ratios of all rounds, since a disturbance affects both the value and the floor of a round."""
        if not self.floors:
            return None
        return statistics.median(value / floor for value, floor in zip(self.values, self.floors, strict=True))

    @property
    def score(self) -> float:
        """The number that the target limits: the ratio if there is a floor, else the value."""
        return self.value if self.ratio is None else self.ratio

    def as_json(self) -> dict[str, Any]:
        floor = {"floor": self.floor, "floors": self.floors, "ratio": self.ratio} if self.floors else {}
        return {
            "name": self.name,
            "unit": self.unit,
            "value": self.value,
            "values": self.values,
            **floor,
            "target": str(self.target),
            "met": self.target.met(self.score),
        }


@dataclass
class Report:
    """All results of one run."""

    began: float = field(default_factory=time.monotonic)
    figures: list[Figure] = field(default_factory=list)
    latencies: dict[str, Timed] = field(default_factory=dict)
    """In the order of the picture."""
    cpu_ms: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """CPU time of one action, by action and process."""
    resident_mib: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """By process and moment."""

    def add(self, figure: Figure) -> None:
        """Add a figure and print it, since a run takes minutes."""
        self.figures.append(figure)
        minutes, seconds = divmod(round(time.monotonic() - self.began), 60)
        print(f"  {minutes}:{seconds:02} {figure.name}: {figure.score:,.3g} (target {figure.target})", flush=True)

    def print(self) -> None:
        """Print all results as tables."""
        print()
        print_rows(
            [("figure", "measured", "unit", "floor", "ratio", "target", "", "what the floor is")]
            + [
                (
                    each.name,
                    f"{each.value:,.4g}" if each.value < 1000 else f"{each.value:,.0f}",
                    each.unit,
                    f"{statistics.median(each.floors):,.4g}" if each.floors else "",
                    "" if each.ratio is None else f"{each.ratio:.2f}",
                    str(each.target),
                    "met" if each.target.met(each.score) else "MISSED",
                    each.floor,
                )
                for each in self.figures
            ]
        )
        print("\nLatency, ms")
        print_rows(
            [("", "p50", "p90", "p99", "max", "samples")]
            + [
                (
                    name,
                    *(f"{timed.percentile_ms(percent):.2f}" for percent in (50, 90, 99, 100)),
                    f"{len(timed.durations):,}",
                )
                for name, timed in self.latencies.items()
            ]
        )
        for done, parts in self.cpu_ms.items():
            print(f"\nCPU of {done}, ms")
            print_rows([(name, f"{each:.3f}") for name, each in {**parts, "total": sum(parts.values())}.items()])
        print("\nMemory, MiB")
        print_rows(
            [("", *next(iter(self.resident_mib.values())))]
            + [(name, *(f"{each:.0f}" for each in moments.values())) for name, moments in self.resident_mib.items()]
        )

    def write_json(self) -> Path:
        """Write `bench/results/latest.json` and return its path."""
        latest = RESULTS / "latest.json"
        latest.parent.mkdir(exist_ok=True)
        document = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
            "figures": [each.as_json() for each in self.figures],
            "latencies_ms": {
                name: {f"p{percent}": timed.percentile_ms(percent) for percent in (50, 90, 99, 100)}
                for name, timed in self.latencies.items()
            },
            "cpu_ms": self.cpu_ms,
            "resident_mib": self.resident_mib,
        }
        latest.write_text(json.dumps(document, indent=2) + "\n")
        return latest


def print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
