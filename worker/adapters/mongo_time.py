"""Time and MongoDB: limits of calls, from the deadline of the request that makes them, and the age of the primary.

`pymongo.timeout` limits what the driver does: waiting for a primary and for a connection, the
command in the database (`maxTimeMS`), its reply, and retries. It is a context variable, and Motor
copies these into its threads. A call may also wait for one of those threads, which the driver's
limit does not cover, so a timer of the event loop ends that. PyMongo's async client has no threads.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator

import pymongo
from pymongo.monitoring import (
    ServerHeartbeatFailedEvent,
    ServerHeartbeatListener,
    ServerHeartbeatStartedEvent,
    ServerHeartbeatSucceededEvent,
)

from worker.domain.deadline import request_deadline

#: Limit of one call to the database, also of background work and of requests with a long timeout:
#: calls to a silent database must not hold all of a worker's places for longer. It is less than a
#: caller's usual deadline of 5 seconds, and more than a planned election takes.
MAX_CALL_SECONDS = 4.0
#: A shorter limit would end calls to a healthy database, and close their connections.
MIN_CALL_SECONDS = 0.25
#: The timer ends a call this long after the driver should have. The driver's error is better: it
#: names the cause.
THREAD_WAIT_SECONDS = 0.05


def call_seconds(max_seconds: float = MAX_CALL_SECONDS) -> float:
    """Return the time for a call now: `max_seconds`, or less if the deadline of the request in this task is near."""
    deadline = request_deadline.get()
    left = deadline.call_seconds(asyncio.get_running_loop().time()) if deadline else None
    return max_seconds if left is None else min(max_seconds, max(left, MIN_CALL_SECONDS))


@contextlib.contextmanager
def call_time_limit(max_seconds: float = MAX_CALL_SECONDS) -> Iterator[None]:
    """Limit the time of all calls inside together to `call_seconds`.

    Raises the driver's error, or `TimeoutError` if a call got no thread in time.
    """
    seconds = call_seconds(max_seconds)
    with _cancelled_after(seconds + THREAD_WAIT_SECONDS), pymongo.timeout(seconds):
        yield


class PrimaryHeartbeats(ServerHeartbeatListener):
    """Remembers the last heartbeat of a primary, a `mongos` or a standalone server. Motor calls it in threads."""

    def __init__(self) -> None:
        self._seen_at = -math.inf

    def seconds_since(self) -> float:
        """Return the time since the last heartbeat of a primary; infinite if there was none."""
        return time.monotonic() - self._seen_at

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        """Do nothing: the answer counts."""

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        if event.reply.is_writable:
            self._seen_at = time.monotonic()

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        """Do nothing: another node may be the primary."""


@contextlib.contextmanager
def _cancelled_after(seconds: float) -> Iterator[None]:
    """Cancel what the task awaits inside after this time, and raise `TimeoutError`.

    `asyncio.timeout` for callers that are not `async with`.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a call to the database must be made in a task")
    cancellations = task.cancelling()
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, expire)
    try:
        yield
    except asyncio.CancelledError:
        if expired and task.uncancel() <= cancellations:
            raise TimeoutError from None
        raise
    except BaseException:
        if expired:
            task.uncancel()
        raise
    finally:
        timer.cancel()
