"""The worker's metrics: their names, labels and recording.

No label contains a value that a caller chooses: no tenant, no login, no unknown operation.
"""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from shared.contracts import OPERATIONS
from shared.contracts.auth_verify import AuthVerifyReply
from shared.contracts.errors import AuthError, ErrorCode
from shared.contracts.events import RevocationReason
from shared.process.metrics import LATENCY_BUCKETS_SECONDS, process_registry
from worker.amqp.replies import Outcome
from worker.domain.records import StoredSession
from worker.sweeper import Unannounced

#: OWASP's minimum cost takes some tens of milliseconds. Operators may raise it up to about a
#: second.
HASH_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
#: Usually milliseconds; minutes after an outage of the broker.
EVENT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: The code of a request whose deadline has passed.
LATE = "late"
OK = "ok"
#: The kinds of sweeps.
ANNOUNCE = "announce"
FINISH = "finish"
#: The two outcomes of a refused event: it is published again later, or only listed from then on.
RETRIED = "retried"
LISTED = "listed"


class WorkerMetrics:
    """Records what a worker does. This costs a few microseconds per request, since labels are looked up only once."""

    def __init__(self) -> None:
        self.registry = registry = process_registry()

        self._requests = Counter(
            "jincor_auth_worker_requests",
            "Requests handled, by operation and code: ok, late, or an error code.",
            ("operation", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "jincor_auth_worker_request_duration_seconds",
            "Seconds from consuming a request to acknowledging it.",
            ("operation",),
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self._waits = Histogram(
            "jincor_auth_worker_queue_wait_seconds",
            "Seconds from sending a request, by the sender's clock, to consuming it, if the request states that time.",
            ("operation",),
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self._batches = Histogram(
            "jincor_auth_worker_verify_batch_size",
            "Verifications in one request.",
            registry=registry,
            buckets=BATCH_SIZES,
        )
        self._checks = Counter(
            "jincor_auth_worker_verifications",
            "Verifications handled, by code.",
            ("code",),
            registry=registry,
        )
        self._hash_seconds = Histogram(
            "jincor_auth_worker_hash_duration_seconds",
            "Seconds to hash or verify a password, without the wait for a thread.",
            registry=registry,
            buckets=HASH_SECONDS,
        )
        self._turn_waits = Histogram(
            "jincor_auth_worker_turn_wait_seconds",
            "Seconds that a password request waited for its turn among those of its tenant.",
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self._wrong_keys = Counter(
            "jincor_auth_worker_registration_keys_refused",
            "Wrong registration keys that were checked.",
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
            "Sessions revoked, by reason.",
            ("reason",),
            registry=registry,
        )
        self._event_lag = Histogram(
            "jincor_auth_worker_event_lag_seconds",
            "Seconds from the revocation of a session to the broker's confirmation of its event.",
            registry=registry,
            buckets=EVENT_SECONDS,
        )
        self._refused = Counter(
            "jincor_auth_worker_events_refused",
            "Events that a subscriber's queue refused, by what happens next: retried, or only listed.",
            ("then",),
            registry=registry,
        )
        self._backlog = Gauge(
            "jincor_auth_worker_outbox_backlog",
            "Unannounced revocations older than some seconds in the last sweep, 500 at most.",
            registry=registry,
        )
        self._backlog_age = Gauge(
            "jincor_auth_worker_outbox_age_seconds",
            "Age of the oldest revocation in the backlog that no queue has refused; 0 if there is none.",
            registry=registry,
        )
        self._finished = Counter(
            "jincor_auth_worker_endings_finished",
            "Revocations of several sessions that a sweep completed after their worker was lost.",
            registry=registry,
        )
        self._sweeps = Counter(
            "jincor_auth_worker_sweeps",
            "Sweeps, by kind (announce revocations, finish revocations of several sessions) and result.",
            ("sweep", "result"),
            registry=registry,
        )
        self._loop_lag = Histogram(
            "jincor_auth_worker_event_loop_lag_seconds",
            "Seconds by which the event loop was late.",
            registry=registry,
            buckets=LATENCY_BUCKETS_SECONDS,
        )
        self._hash_slots = Gauge(
            "jincor_auth_worker_hash_slots", "Passwords that can be hashed concurrently.", registry=registry
        )
        self._hashing = Gauge(
            "jincor_auth_worker_hash_slots_in_use", "Passwords that are being hashed.", registry=registry
        )
        self._hash_queue = Gauge(
            "jincor_auth_worker_hash_waiting",
            "Passwords that wait for a thread or for their turn.",
            registry=registry,
        )
        self._publishing = Gauge(
            "jincor_auth_worker_events_publishing", "Events waiting or being published.", registry=registry
        )
        self._in_flight = Gauge(
            "jincor_auth_worker_requests_in_progress", "Requests consumed and not acknowledged.", registry=registry
        )
        self._has_primary = Gauge(
            "jincor_auth_worker_primary_confirmed",
            "1 while the database is confirmed to be the primary, or if this worker does not ask; 0: tokens are"
            " refused.",
            registry=registry,
        )
        self._connected = Gauge(
            "jincor_auth_worker_broker_connected", "1 while this worker consumes requests.", registry=registry
        )

        # Child metrics are cached, since `labels` costs as much as counting. Few combinations
        # occur.
        self._requests_of: dict[tuple[str, str], Counter] = {}
        self._times_of: dict[str, tuple[Histogram, Histogram]] = {}
        # Created at 0 from the start: Prometheus sees no increase when a counter first appears with
        # the value 1.
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
        """Record that a request was consumed, this long after it was sent (None: unknown).

        Unknown operations are passed as `OTHER`.
        """
        if waited_seconds is not None:
            self._times(operation)[0].observe(waited_seconds)

    def answered(self, operation: str, outcome: Outcome | None, seconds: float) -> None:
        """Record that a request was answered and acknowledged."""
        self._request_counter(operation, code_of(outcome)).inc()
        self._times(operation)[1].observe(seconds)
        if isinstance(outcome, AuthVerifyReply):
            self._batches.observe(len(outcome.answers))
            refused = [each.error.code for each in outcome.answers if each.error]
            self._checks_ok.inc(len(outcome.answers) - len(refused))
            for code in refused:
                self._checks.labels(code).inc()

    def turn_came(self, waited_seconds: float) -> None:
        """Record how long a password request waited for its turn."""
        self._turn_waits.observe(waited_seconds)

    def registration_key_refused(self) -> None:
        """Record a wrong registration key."""
        self._wrong_keys.inc()

    def session_opened(self, session: StoredSession) -> None:
        self._opened.labels("user" if session.user else "tenant").inc()

    def sessions_revoked(self, reason: RevocationReason, number: int) -> None:
        self._ended.labels(reason).inc(number)

    def hashed(self, seconds: float) -> None:
        """Record that a password was hashed or verified. May be called from any thread."""
        self._hash_seconds.observe(seconds)

    def announced(self, lag_seconds: float) -> None:
        """Record that the broker confirmed an event, this long after the revocation."""
        self._event_lag.observe(max(lag_seconds, 0.0))

    def refused(self, is_retried: bool) -> None:
        """Record that a subscriber's queue refused an event."""
        self._refused.labels(RETRIED if is_retried else LISTED).inc()

    def swept(self, found: Unannounced | None) -> None:
        """Record the unannounced revocations that a sweep found. None: the sweep failed."""
        self._sweeps.labels(ANNOUNCE, "failed" if found is None else "ok").inc()
        if found is not None:
            self._backlog.set(found.number)
            self._backlog_age.set(found.oldest_seconds)

    def finished(self, revocations: int | None) -> None:
        """Record how many interrupted revocations a sweep completed. None: the sweep failed."""
        self._sweeps.labels(FINISH, "failed" if revocations is None else "ok").inc()
        self._finished.inc(revocations or 0)

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
        has_primary: Callable[[], bool],
    ) -> None:
        """Set the functions that gauges call at each scrape, on the thread of the metrics server."""
        self._hash_slots.set(hash_threads)
        self._hashing.set_function(lambda: min(hashing(), hash_threads))
        self._hash_queue.set_function(lambda: max(hashing() - hash_threads, 0) + waiting())
        self._publishing.set_function(publishing)
        self._in_flight.set_function(in_flight)
        self._connected.set_function(connected)
        self._has_primary.set_function(has_primary)

    def _times(self, operation: str) -> tuple[Histogram, Histogram]:
        """Return the histograms of the wait and of the duration of this operation."""
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
    """Return the code of the outcome for logs and metrics: `ok`, `late` or an error code."""
    if outcome is None:
        return LATE
    return outcome.code if isinstance(outcome, AuthError) else OK
