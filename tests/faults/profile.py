"""The length of the fault tests, and their measured figures."""

import os

#: Set by `make faults`: every test at its full length.
LONG = os.environ.get("FAULTS") == "long"

FIGURES: list[str] = []
"""Printed at the end of the run."""


def note(text: str) -> None:
    """Record a figure for the end of the run."""
    FIGURES.append(text)
