"""Deadlines of requests: the header that carries them, requests that arrive late, and time spent in queues."""

import asyncio
import logging
import math
from collections.abc import Callable

from shared.amqp.topology import DEADLINE_HEADER, service_of
from shared.contracts.errors import BadRequest, DeadlineExceeded, Overloaded
from worker.amqp.delivery import Delivery
from worker.domain.deadline import Deadline

log = logging.getLogger(__name__)

#: The longest deadline that a caller may set. It limits how often a message that kills its worker
#: is redelivered.
MAX_DEADLINE_MS = 600_000
#: Between two log lines about requests of one caller that arrive after their deadline: there may be
#: hundreds a second.
LOG_PAUSE_SECONDS = 60.0
#: Callers whose last log line is remembered. A system has far fewer services than this.
MAX_LATE_CALLERS = 256
#: A request that arrives up to this long after its deadline may have waited in the queue until then.
USUAL_DELAY_SECONDS = 1.0


class Deadlines:
    """Reads the deadlines of messages by this worker's clock."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._logged_at: dict[str, float] = {}
        """When a late request of each caller was last logged, the one that was logged longest ago first."""

    def late_seconds(self, message: Delivery) -> float:
        """Return the seconds since the deadline of the request, negative before it."""
        deadline_ms = message.headers.get(DEADLINE_HEADER)
        if deadline_ms is None:  # a redelivered request without a deadline counts as late
            return math.inf if message.redelivered else -math.inf
        now_ms = self._clock() * 1000
        if not isinstance(deadline_ms, int) or deadline_ms > now_ms + MAX_DEADLINE_MS:
            raise BadRequest(
                f"header {DEADLINE_HEADER} must be milliseconds since the epoch, at most {MAX_DEADLINE_MS} from now"
            )
        return (now_ms - deadline_ms) / 1000

    def exceeded(self, message: Delivery, late_seconds: float) -> DeadlineExceeded:
        """Return the error for a request that arrives late at its first delivery.

        A caller that still waits for the reply has a clock that is behind this worker's, so its late
        requests are logged once a minute.
        """
        seconds = math.ceil(late_seconds)
        caller = service_of(message.exchange) or "an edge"
        if late_seconds > USUAL_DELAY_SECONDS and self._may_log_late(caller):
            log.warning(
                "request arrived %d s after its deadline: the caller's clock is behind this worker's, or the broker"
                " held the request up",
                seconds,
                extra={"caller": caller},
            )
        return DeadlineExceeded(
            f"{DeadlineExceeded.text}: the request arrived {seconds} s after its deadline, so the clocks of the caller"
            " and of the worker differ",
            details={"lateSeconds": seconds},
        )

    def _may_log_late(self, caller: str) -> bool:
        """Return whether no late request of this caller was logged in the last minute, and record the time."""
        now = self._monotonic()
        if now - self._logged_at.get(caller, -math.inf) < LOG_PAUSE_SECONDS:
            return False
        self._logged_at.pop(caller, None)
        self._logged_at[caller] = now
        if len(self._logged_at) > MAX_LATE_CALLERS:
            del self._logged_at[next(iter(self._logged_at))]
        return True

    def of(self, message: Delivery) -> Deadline | None:
        """Return the deadline of the request, or None if it has none.

        Raises `Overloaded` if it waited in the queue until only the reserve is left. A redelivered
        request is handled: it may have been done in part.
        """
        deadline_ms, given_seconds = message.headers.get(DEADLINE_HEADER), message.expiration
        if not isinstance(deadline_ms, int):
            return None
        left_seconds, now = deadline_ms / 1000 - self._clock(), asyncio.get_running_loop().time()
        timeout_seconds = given_seconds if given_seconds is not None else left_seconds
        deadline = Deadline.of_request(now + left_seconds, timeout_seconds)
        if deadline.is_close(now) and not message.redelivered:
            raise Overloaded
        return deadline

    def waited_seconds(self, message: Delivery) -> float | None:
        """Return the seconds since the request was sent, computed from its deadline and its expiration.

        None if one of them is missing, or if the message is redelivered: then it also spent time in
        another worker.
        """
        deadline_ms, given_seconds = message.headers.get(DEADLINE_HEADER), message.expiration
        if message.redelivered or not isinstance(deadline_ms, int) or given_seconds is None:
            return None
        waited = self._clock() - deadline_ms / 1000 + given_seconds
        # Clocks differ, and callers may set any values.
        return max(waited, 0.0) if waited <= MAX_DEADLINE_MS / 1000 else None
