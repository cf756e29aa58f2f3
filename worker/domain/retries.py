"""When an event that a subscriber's queue refused is published again, and how often.

A queue that is full for minutes gets everything within twice the time that it was full; one that is full for hours,
within two hours of having room. After MAX_REFUSALS, almost 19 hours after the first, the event is published no more.
`event.list` has it from the first refusal on.
"""

from datetime import timedelta

#: Doubled with each refusal. The sweep adds its grace of some seconds.
FIRST_DELAY = timedelta(seconds=5)
#: Each retry costs a publish, a write, and a duplicate to the subscribers that took the event before.
LONGEST_DELAY = timedelta(hours=2)
#: Sessions are kept for a day after they expire, so no event is deleted before it has been refused so often.
MAX_REFUSALS = 20


def retry_delay(refusals: int) -> timedelta | None:
    """How long an event waits that was refused so many times, at least once; None if it is published no more."""
    if refusals >= MAX_REFUSALS:
        return None
    return min(FIRST_DELAY * (1 << (refusals - 1)), LONGEST_DELAY)
