"""How long the faults may take, and what they have measured."""

import os

#: `make faults` sets it: everything at its full length, and what is too long for every run of the tests.
LONG = os.environ.get("FAULTS") == "long"

FIGURES: list[str] = []
"""Shown at the end of the run."""


def note(text: str) -> None:
    """Keeps a figure for the end of the run."""
    FIGURES.append(text)
