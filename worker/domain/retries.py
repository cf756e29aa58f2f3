"""Backoff for events that a subscriber's queue refused.

- A queue that is full for minutes receives its events within twice the time that it was full.
- A queue that is full for hours receives its events within two hours of having room.
- After MAX_REFUSALS, almost 19 hours after the first refusal, the event is not published again.

`event.list` returns the event from the first refusal on.
"""

from datetime import timedelta

#: Doubled with each refusal. The sweep adds a grace period of some seconds.
FIRST_DELAY = timedelta(seconds=5)
#: Each retry costs a publish, a write, and a duplicate for the subscribers that received the event
#: before.
LONGEST_DELAY = timedelta(hours=2)
#: Sessions are kept for a day after they expire, so no session is deleted before its event has been
#: refused this often.
MAX_REFUSALS = 20


def retry_delay(refusals: int) -> timedelta | None:
    """Return the delay before the next retry after this many refusals (1 or more). None: the event is not retried."""
    if refusals >= MAX_REFUSALS:
        return None
    return min(FIRST_DELAY * (1 << (refusals - 1)), LONGEST_DELAY)
