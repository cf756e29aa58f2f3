"""The worker's composition root: build, run, drain. Read it from top to bottom."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import uvloop

from shared.amqp.connection import REPLICATED_SETUP_TIMEOUT_SECONDS, SETUP_TIMEOUT_SECONDS, Connection
from shared.amqp.topology import QueueType, health_queue, lane_queue
from shared.contracts.errors import AuthError
from shared.contracts.operation import Lane
from shared.process.background import background_task
from shared.process.garbage import collect_rarely
from shared.process.loop_lag import watch_loop
from shared.process.metrics import metrics_endpoint
from shared.process.startup import argument_parser, load_tracing, prepare
from worker.adapters import mongo_database
from worker.adapters.argon2_hasher import Argon2Hasher
from worker.adapters.common_passwords import common_passwords
from worker.adapters.fair_turns import FairTurns
from worker.adapters.jwt_tokens import JwtTokens
from worker.adapters.mongo_activity import MongoActivity
from worker.adapters.mongo_attempts import MongoAttempts
from worker.adapters.mongo_audit import MongoAudit
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_sweep_leases import MongoSweepLeases
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.adapters.primary_lease import PrimaryLease, ProvenDatabase, confirm_primary
from worker.adapters.registration_policy import RegistrationPolicy
from worker.adapters.system_clock import SystemClock
from worker.amqp.consumer import Consumer, Consumption
from worker.amqp.events import AmqpEvents
from worker.amqp.replies import Replies
from worker.check import worker_problems
from worker.domain.ports import Clock, Ports
from worker.heartbeat import beat_forever
from worker.metrics import WorkerMetrics
from worker.niceness import yield_cores
from worker.operations import HANDLERS
from worker.settings import SECRETS, Settings
from worker.sweeper import sweep_forever

if TYPE_CHECKING:
    from worker.tracing import WorkerTracing

log = logging.getLogger(__name__)

#: Requests held at a time. Measured: below 8 the broker's work grows by half, beyond 32 nothing is
#: gained.
PREFETCH = 16
HEALTH_PREFETCH = 2


def main(clock: Clock | None = None) -> None:
    """Run `python -m worker`. Tests pass their own clock."""
    parser = argument_parser("worker", "A worker of Jincor Auth.")
    lanes = ",".join(Lane)
    parser.add_argument("--lanes", help=f"lanes to serve, of {lanes}; default: AUTH_LANES", default=None)
    arguments = parser.parse_args()
    overrides = {"AUTH_LANES": arguments.lanes} if arguments.lanes else {}
    settings = prepare("worker", Settings, SECRETS, worker_problems, check=arguments.check, **overrides)
    tracing = load_tracing(_tracing)
    collect_rarely()
    with tracing or contextlib.nullcontext():
        uvloop.run(run(settings, clock, tracing))


async def run(settings: Settings, clock: Clock | None = None, tracing: "WorkerTracing | None" = None) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in flight."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop, clock, tracing)


async def serve(
    settings: Settings, stop: asyncio.Event, clock: Clock | None = None, tracing: "WorkerTracing | None" = None
) -> None:
    """Build everything, serve until `stop` is set, and shut down in reverse order."""
    clock = clock or SystemClock()
    urls = settings.broker_urls
    name = f"worker {','.join(sorted(settings.lanes))} {os.getpid()}"
    if settings.lanes == {Lane.PASSWORD}:
        yield_cores(settings.password_nice)

    async with contextlib.AsyncExitStack() as stack:
        metrics = WorkerMetrics()
        stack.enter_context(metrics_endpoint(metrics.registry, settings.metrics_host, settings.metrics_port))
        listeners = [tracing.commands] if tracing else []
        url = settings.mongo_url.get_secret_value()
        connected = mongo_database.connect(url, listeners, driver=settings.mongo_driver)
        database = await stack.enter_async_context(connected)
        if not await _has_indexes(database, stop):
            return

        turns = FairTurns(settings.hash_threads, settings.password_places, on_waited=metrics.turn_came)
        hasher = Argon2Hasher(
            settings.hash_threads,
            settings.hash_memory_kib,
            settings.hash_passes,
            {pepper_id: pepper.get_secret_value() for pepper_id, pepper in (settings.password_peppers or {}).items()},
            on_hashed=metrics.hashed,
            thread=turns.thread,
        )
        stack.callback(hasher.close)
        lease = PrimaryLease(functools.partial(confirm_primary, database)) if settings.primary_lease else None
        # Each success on the password lane ends in a majority write, which an old primary cannot make. Without the
        # lease, logins are slow on a busy host instead of refused.
        of_reads = lease if settings.lanes - {Lane.PASSWORD} else None
        sessions = MongoSessions(database, metrics.session_opened, metrics.sessions_revoked, of_reads)
        events = await stack.enter_async_context(
            AmqpEvents(
                urls,
                f"{name} events",
                settings.issuer,
                sessions,
                clock,
                declare=settings.declare_topology,
                on_published=metrics.announced,
                on_refused=metrics.refused,
            )
        )
        activity = MongoActivity(database)
        stack.push_async_callback(activity.write)
        sweep_leases = MongoSweepLeases(database, uuid.uuid4().hex)
        stack.push_async_callback(_released, sweep_leases)
        audit = MongoAudit(database, settings.audit_kept_for)
        stack.push_async_callback(audit.write)
        ports = Ports(
            tenants=MongoTenants(database),
            users=MongoUsers(database),
            sessions=sessions,
            attempts=MongoAttempts(database),
            audit=audit,
            hasher=hasher,
            turns=turns,
            tokens=JwtTokens(
                {key_id: key.get_secret_value() for key_id, key in settings.master_keys.items()}, settings.issuer
            ),
            events=events,
            activity=activity,
            sweep_leases=sweep_leases,
            database=ProvenDatabase(database, lease) if lease else database,
            clock=clock,
            registration=RegistrationPolicy(
                settings.registration_networks,
                settings.registration_key.get_secret_value() if settings.registration_key else None,
                on_wrong_key=metrics.registration_key_refused,
            ),
            common_passwords=common_passwords() if Lane.PASSWORD in settings.lanes else frozenset(),
            lifetimes=settings.lifetimes,
            throttle=settings.throttle,
            min_password_chars=settings.password_min_chars,
            max_sessions_per_user=settings.max_sessions_per_user,
            operator_tenant=settings.operator_tenant,
        )

        for background in (
            sweep_forever(ports, on_announced=metrics.swept, on_finished=metrics.finished),
            activity.write_forever(settings.activity_seconds),
            audit.write_forever(),
            watch_loop(metrics.loop_was_late),
            *([lease.renew_forever()] if lease else []),
        ):
            await stack.enter_async_context(background_task(background))

        replies = await stack.enter_async_context(Replies(urls, f"{name} replies"))
        consumer = Consumer(
            _consumptions(settings),
            HANDLERS,
            ports,
            replies,
            declare=settings.declare_topology,
            clock=lambda: clock.now().timestamp(),
            metrics=metrics,
            tracing=tracing,
            verify_sample=settings.log_verify_sample,
        )
        replicated = settings.queue_type is QueueType.QUORUM
        setup_timeout_seconds = REPLICATED_SETUP_TIMEOUT_SECONDS if replicated else SETUP_TIMEOUT_SECONDS
        connection = await stack.enter_async_context(
            Connection(urls, name, consumer.setup, setup_timeout_seconds=setup_timeout_seconds)
        )
        metrics.watch(
            hash_threads=settings.hash_threads,
            hashing=lambda: hasher.in_flight,
            waiting=lambda: turns.waiting,
            publishing=lambda: events.in_flight,
            in_flight=lambda: consumer.in_flight,
            connected=connection.connected.is_set,
            has_primary=lambda: lease is None or lease.is_held,
        )
        if settings.heartbeat_file:
            await stack.enter_async_context(
                background_task(beat_forever(settings.heartbeat_file, connection.connected))
            )
        log.info("worker is started", extra={"lanes": sorted(settings.lanes)})

        await stop.wait()
        log.info("stopping: taking no more requests")
        if not await consumer.drain(settings.shutdown_grace_seconds):
            log.error("grace period is over, some requests are not finished; the broker gives them to others")
        await events.drain(settings.shutdown_grace_seconds)
    log.info("worker is stopped")


def _tracing() -> "type[WorkerTracing]":
    from worker.tracing import WorkerTracing  # noqa: PLC0415 - imports OpenTelemetry, so only if tracing is on

    return WorkerTracing


async def _has_indexes(database: mongo_database.MongoDatabase, stop: asyncio.Event) -> bool:
    """Wait until the database has its indexes. Return False if `stop` is set before that."""
    waiting = asyncio.create_task(database.wait_for_indexes())
    stopping = asyncio.create_task(stop.wait())
    done, pending = await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if waiting in done:
        waiting.result()
    return waiting in done


async def _released(leases: MongoSweepLeases) -> None:
    """Release the leases. If that fails, they end by themselves."""
    with contextlib.suppress(AuthError):
        await leases.release()


def _consumptions(settings: Settings) -> Sequence[Consumption]:
    consumptions = []
    for lane in sorted(settings.lanes):
        if lane is Lane.PASSWORD:
            # Many more than are hashed at once: they wait in the worker by tenant, not behind each
            # other in the queue.
            queue = lane_queue(lane, settings.password_queue_length, settings.queue_type)
            consumptions.append(Consumption(queue, settings.password_places))
        else:
            consumptions.append(Consumption(lane_queue(lane, queue_type=settings.queue_type), PREFETCH))
        consumptions.append(Consumption(health_queue(lane, settings.queue_type), HEALTH_PREFETCH))
    return consumptions
