"""The worker's metrics: what they are called, and how they are counted.

No label holds what a caller chose: no tenant, no login, no operation that there is none of.
"""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from shared.contracts import OPERATIONS
from shared.contracts.auth_verify import AuthVerifyReply
from shared.contracts.errors import AuthError, ErrorCode
from shared.contracts.events import RevocationReason
from shared.process.metrics import SECONDS, process_registry
from worker.amqp.replies import Outcome
from worker.domain.records import Session
from worker.sweeper import Unannounced

#: OWASP's least work takes some tens of milliseconds; operators set it up to a second.
HASH_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
#: Milliseconds when all is well; minutes when the broker was away.
EVENT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: Of a request whose answer nobody waits for any more.
LATE = "late"
OK = "ok"
#: What a sweep is for.
ANNOUNCE = "announce"
FINISH = "finish"
#: What follows when a subscriber's queue refuses an event.
RETRIED = "retried"
LISTED = "listed"


class WorkerMetrics:
    """Counts what a worker does. A request costs a few microseconds: its labels are looked up once for all."""

    def __init__(self) -> None:
        self.registry = registry = process_registry()

        self._requests = Counter(
            "jincor_auth_worker_requests",
            "Requests that were settled, by operation and by their answer: ok, late, or the code of an error.",
            ("operation", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "jincor_auth_worker_request_duration_seconds",
            "From taking a request to acknowledging it.",
            ("operation",),
            registry=registry,
            buckets=SECONDS,
        )
        self._waits = Histogram(
            "jincor_auth_worker_queue_wait_seconds",
            "From sending a request, by its sender's clock, to taking it. Of requests that say when they were sent.",
            ("operation",),
            registry=registry,
            buckets=SECONDS,
        )
        self._batches = Histogram(
            "jincor_auth_worker_verify_batch_size",
            "Verifications that came in one message.",
            registry=registry,
            buckets=BATCH_SIZES,
        )
        self._checks = Counter(
            "jincor_auth_worker_verifications",
            "Verifications answered within their batches, by code.",
            ("code",),
            registry=registry,
        )
        self._hash_seconds = Histogram(
            "jincor_auth_worker_hash_duration_seconds",
            "Hashing or checking a password, without the wait for a thread.",
            registry=registry,
            buckets=HASH_SECONDS,
        )
        self._turn_waits = Histogram(
            "jincor_auth_worker_turn_wait_seconds",
            "From taking a request that has a password hashed to its turn among those of its tenant.",
            registry=registry,
            buckets=SECONDS,
        )
        self._wrong_keys = Counter(
            "jincor_auth_worker_registration_keys_refused",
            "Keys that were shown as the registration key, looked at, and wrong.",
            registry=registry,
        )
        self._opened = Counter(
            "jincor_auth_worker_sessions_created",
            "Sessions created, of users and of tenants.",
            ("kind",),
            registry=registry,
        )
        self._ended = Counter(
            "jincor_auth_worker_sessions_revoked",
            "Sessions ended before their time, by reason.",
            ("reason",),
            registry=registry,
        )
        self._event_lag = Histogram(
            "jincor_auth_worker_event_lag_seconds",
            "From the decision that a session ends to the broker's confirmation of its event.",
            registry=registry,
            buckets=EVENT_SECONDS,
        )
        self._refused = Counter(
            "jincor_auth_worker_events_refused",
            "Events that a subscriber's queue refused, by what follows: another retry, or the event is only listed.",
            ("then",),
            registry=registry,
        )
        self._backlog = Gauge(
            "jincor_auth_worker_outbox_backlog",
            "Revocations that the last sweep found unannounced some seconds after their decision. It counts to 500.",
            registry=registry,
        )
        self._backlog_age = Gauge(
            "jincor_auth_worker_outbox_age_seconds",
            "How long ago the oldest of these was decided that no queue has refused; 0 when there is none.",
            registry=registry,
        )
        self._finished = Counter(
            "jincor_auth_worker_endings_finished",
            "Endings of several sessions that a sweep had to finish for a worker that was lost.",
            registry=registry,
        )
        self._sweeps = Counter(
            "jincor_auth_worker_sweeps",
            "Sweeps, by what for (to announce revocations, to finish endings) and by whether they succeeded.",
            ("sweep", "result"),
            registry=registry,
        )
        self._loop_lag = Histogram(
            "jincor_auth_worker_event_loop_lag_seconds",
            "How late the event loop was.",
            registry=registry,
            buckets=SECONDS,
        )
        self._hash_slots = Gauge(
            "jincor_auth_worker_hash_slots", "Passwords that can be hashed at a time.", registry=registry
        )
        self._hashing = Gauge(
            "jincor_auth_worker_hash_slots_in_use", "Passwords that are being hashed.", registry=registry
        )
        self._hash_queue = Gauge(
            "jincor_auth_worker_hash_waiting",
            "Passwords that wait for a thread to hash them, or for their turn.",
            registry=registry,
        )
        self._publishing = Gauge(
            "jincor_auth_worker_events_publishing", "Events on their way to the broker.", registry=registry
        )
        self._in_flight = Gauge(
            "jincor_auth_worker_requests_in_progress", "Requests taken and not settled.", registry=registry
        )
        self._connected = Gauge(
            "jincor_auth_worker_broker_connected", "1 while this worker takes requests.", registry=registry
        )

        # Bound once for each combination that occurs, of which there are few: `labels` costs as much as counting.
        self._requests_of: dict[tuple[str, str], Counter] = {}
        self._times_of: dict[str, tuple[Histogram, Histogram]] = {}
        # There from the start: the first of what was not there before is no increase to Prometheus.
        for name in OPERATIONS:
            for code in (OK, ErrorCode.INTERNAL):
                self._request_counter(name, code)
        self._checks_ok = self._checks.labels(OK)
        for code in (ErrorCode.INVALID_TOKEN, ErrorCode.INVALID_TENANT_TOKEN):
            self._checks.labels(code)
        for kind in ("user", "tenant"):
            self._opened.labels(kind)
        for reason in RevocationReason:
            self._ended.labels(reason)
        for sweep in (ANNOUNCE, FINISH):
            for result in ("ok", "failed"):
                self._sweeps.labels(sweep, result)
        for then in (RETRIED, LISTED):
            self._refused.labels(then)

    def taken(self, operation: str, waited_seconds: float | None) -> None:
        """A request was taken, this long after it was sent, if it tells. Operations there are none of are `OTHER`."""
        if waited_seconds is not None:
            self._times(operation)[0].observe(waited_seconds)

    def answered(self, operation: str, outcome: Outcome | None, seconds: float) -> None:
        """A request was answered and acknowledged."""
        self._request_counter(operation, code_of(outcome)).inc()
        self._times(operation)[1].observe(seconds)
        if isinstance(outcome, AuthVerifyReply):
            self._batches.observe(len(outcome.answers))
            refused = [each.error.code for each in outcome.answers if each.error]
            self._checks_ok.inc(len(outcome.answers) - len(refused))
            for code in refused:
                self._checks.labels(code).inc()

    def turn_came(self, waited_seconds: float) -> None:
        """A request that has a password hashed has waited so long for its turn."""
        self._turn_waits.observe(waited_seconds)

    def registration_key_refused(self) -> None:
        """A wrong registration key was shown."""
        self._wrong_keys.inc()

    def session_opened(self, session: Session) -> None:
        self._opened.labels("user" if session.user else "tenant").inc()

    def sessions_revoked(self, reason: RevocationReason, number: int) -> None:
        self._ended.labels(reason).inc(number)

    def hashed(self, seconds: float) -> None:
        """A password was hashed, or checked. May be called from any thread."""
        self._hash_seconds.observe(seconds)

    def announced(self, lag_seconds: float) -> None:
        """An event was confirmed by the broker, so long after its cause."""
        self._event_lag.observe(max(lag_seconds, 0.0))

    def refused(self, is_retried: bool) -> None:
        """A subscriber's queue refused an event, which is published again, or not."""
        self._refused.labels(RETRIED if is_retried else LISTED).inc()

    def swept(self, found: Unannounced | None) -> None:
        """A sweep for revocations found these; None when it failed."""
        self._sweeps.labels(ANNOUNCE, "failed" if found is None else "ok").inc()
        if found is not None:
            self._backlog.set(found.number)
            self._backlog_age.set(found.oldest_seconds)

    def finished(self, endings: int | None) -> None:
        """A sweep for endings finished so many; None when it failed."""
        self._sweeps.labels(FINISH, "failed" if endings is None else "ok").inc()
        self._finished.inc(endings or 0)

    def loop_was_late(self, seconds: float) -> None:
        self._loop_lag.observe(seconds)

    def watch(
        self,
        *,
        hash_threads: int,
        hashing: Callable[[], int],
        waiting: Callable[[], int],
        publishing: Callable[[], int],
        in_flight: Callable[[], int],
        connected: Callable[[], bool],
    ) -> None:
        """What is looked at when Prometheus asks, and costs nothing in between. It asks from a thread of its own."""
        self._hash_slots.set(hash_threads)
        self._hashing.set_function(lambda: min(hashing(), hash_threads))
        self._hash_queue.set_function(lambda: max(hashing() - hash_threads, 0) + waiting())
        self._publishing.set_function(publishing)
        self._in_flight.set_function(in_flight)
        self._connected.set_function(connected)

    def _times(self, operation: str) -> tuple[Histogram, Histogram]:
        """How long it waited, and how long it took."""
        times = self._times_of.get(operation)
        if times is None:
            times = self._waits.labels(operation), self._seconds.labels(operation)
            self._times_of[operation] = times
        return times

    def _request_counter(self, operation: str, code: str) -> Counter:
        counter = self._requests_of.get((operation, code))
        if counter is None:
            counter = self._requests_of[operation, code] = self._requests.labels(operation, code)
        return counter


def code_of(outcome: Outcome | None) -> str:
    """What a request was answered, in a word."""
    if outcome is None:
        return LATE
    return outcome.code if isinstance(outcome, AuthError) else OK
