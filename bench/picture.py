"""The report as an SVG of text and boxes: it needs no library, and a diff shows what changed."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from bench.report import RESULTS, Figure, Report
from bench.timing import Timed

WIDTH: Final = 1_180
ROW: Final = 34
LEFT: Final = 390
PLOT: Final = 380
#: Columns of text to the right of the plot: the ends of numbers, and the start of units and targets.
MEASURED: Final = LEFT + PLOT + 90
UNIT: Final = MEASURED + 6
RATIO: Final = UNIT + 160
TARGET: Final = RATIO + 34
STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:15px}.value{fill:#666}"
    ".end{text-anchor:end}.mid{text-anchor:middle}.met{fill:#4c78a8}.missed{fill:#e45756}.limit{stroke:#111;stroke-width:2}.grid{stroke:#ddd}"
    ".span{stroke:#9db7d5;stroke-width:8}.p50{fill:#4c78a8}.p90{fill:#f2a33a}.p99{fill:#e45756}"
)
PERCENTILES: Final = (50, 90, 99)


def draw(report: Report) -> Path:
    """Write `bench/results/latest.svg` and return its path."""
    rows = [*_targets(report.figures), "", *_latencies(report.latencies)]
    height = ROW * (len(rows) + 1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f'<style>{STYLE}</style><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        *(f'<g transform="translate(0 {ROW * (number + 1)})">{row}</g>' for number, row in enumerate(rows)),
        "</svg>",
    ]
    picture = RESULTS / "latest.svg"
    picture.parent.mkdir(exist_ok=True)
    picture.write_text("\n".join(lines) + "\n")
    return picture


def _targets(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a bar for each figure. Longer is better; the targets share one line."""
    yield (
        _text(20, "Figures and their targets; a longer bar is better", "title")
        + _text(LEFT + PLOT / 2, "target", "value mid")
        + _text(LEFT + PLOT, "twice as good, or more", "value end")
        + _text(MEASURED, "measured", "value end")
        + _text(RATIO, "of the floor", "value end")
        + _text(TARGET, "target", "value")
    )
    for figure in figures:
        # A figure twice as good as its target fills the plot. A lag may be 0.
        good, bad = (
            (figure.target.limit, figure.score) if figure.target.at_most else (figure.score, figure.target.limit)
        )
        length = PLOT * min(good / (2 * bad), 1) if bad else PLOT
        is_met = figure.target.met(figure.score)
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        yield (
            _text(20, figure.name)
            + f'<rect x="{LEFT}" y="-13" width="{length:.0f}" height="18" class="{"met" if is_met else "missed"}"/>'
            + f'<line x1="{LEFT + PLOT / 2}" y1="-17" x2="{LEFT + PLOT / 2}" y2="9" class="limit"/>'
            + _text(MEASURED, number(figure.value), "end")
            + _text(UNIT, figure.unit, "value")
            + _text(RATIO, ratio, "end")
            + _text(TARGET, f"{figure.target}, {'met' if is_met else 'missed'}", "value")
        )


def _latencies(latencies: dict[str, Timed]) -> Iterator[str]:
    """Yield a line from p50 to p99 for each measurement, on a logarithmic scale."""
    columns = [MEASURED + 80 * column for column in range(len(PERCENTILES))]
    yield _text(20, "Latency in ms", "title") + "".join(
        f'<circle cx="{x - 36}" cy="-4" r="6" class="p{percent}"/>' + _text(x, f"p{percent}", "value end")
        for x, percent in zip(columns, PERCENTILES, strict=True)
    )
    highest = max(timed.p99_ms for timed in latencies.values())
    lowest = max(min(timed.p50_ms for timed in latencies.values()), highest / 10_000)
    first, last = math.floor(math.log10(lowest)), math.ceil(math.log10(highest))
    powers = range(first, last + 1)

    def x(milliseconds: float) -> float:
        return LEFT + PLOT * (math.log10(max(milliseconds, 10**first)) - first) / (last - first)

    for name, timed in latencies.items():
        values = [timed.percentile_ms(percent) for percent in PERCENTILES]
        dots = "".join(
            f'<circle cx="{x(value):.0f}" cy="-4" r="6" class="p{percent}"/>'
            for percent, value in zip(PERCENTILES, values, strict=True)
        )
        span = f'<line x1="{x(values[0]):.0f}" y1="-4" x2="{x(values[-1]):.0f}" y2="-4" class="span"/>'
        texts = "".join(_text(end, number(value), "end") for end, value in zip(columns, values, strict=True))
        yield _text(20, name) + "".join(_grid(x(10.0**power)) for power in powers) + span + dots + texts
    smallest = min(timed.p50_ms for timed in latencies.values())
    yield "".join(
        _text(x(10.0**power), f"{'≤ ' if power == first and smallest < 10**first else ''}{10.0**power:,g}", "value mid")
        for power in powers
    )


def number(value: float) -> str:
    """Return a number as people write it, with three significant digits or all before the decimal point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _grid(x: float) -> str:
    return f'<line x1="{x:.0f}" y1="-22" x2="{x:.0f}" y2="12" class="grid"/>'


def _text(x: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:.0f}" class="{kind}">{escape(text)}</text>'
