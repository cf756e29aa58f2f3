"""Random waits, so that processes that fail at the same time do not retry at the same time."""

import random


def jittered(longest: float, *, least: float = 0.5) -> float:
    """Return a random wait between the fraction `least` of `longest` and `longest`, in its unit."""
    return longest * random.uniform(least, 1.0)  # noqa: S311 - jitter is no secret
