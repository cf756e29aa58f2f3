"""The lease on the primary: proof, at most a second old, that the answering server is the primary.

A primary that is cut off from its replica set answers reads until it notices, about ten seconds
later. Meanwhile a new primary may have revoked sessions, which the old one still returns. Only a
linearizable read tells: the server answers it after a majority has confirmed that it is the
primary (docs/decisions/0049).
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from pymongo.errors import AutoReconnect, NetworkTimeout, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from shared.contracts.errors import Unavailable
from worker.adapters.mongo_database import PLANNED_ELECTION_SECONDS, Collection, Cursor, Document, MongoDatabase
from worker.adapters.mongo_time import call_time_limit
from worker.domain.ports import Database

log = logging.getLogger(__name__)

FoundT = TypeVar("FoundT")
#: Host and port of a server.
Server = tuple[str, int | None]

#: A proof counts for this long. A new primary is elected `electionTimeoutMillis` after it lost
#: contact with the old one, which may be a heartbeat (2 s) before the last proof. So every timeout
#: above 3 s leaves no time in which both answer; MongoDB's default is 10 s.
LEASE_SECONDS = 1.0
#: Half of the lease: a read that takes up to half a second still renews it in time.
RENEWAL_SECONDS = 0.5
#: As long as a query waits for a primary: `SERVER_SELECTION_TIMEOUT_MS`.
ELECTION_WAIT_SECONDS = 2.0
#: Confirmations that `--check` tries, of which one must be in time: a single one may be slow by chance.
CHECKS = 3
#: MongoDB's error code of a standalone server, which has no other primary.
NOT_A_REPLICA_SET = 123
#: Matches no session. Unlike a filter by `_id`, it reads every shard of a sharded collection, so all
#: of them prove their primary.
_NO_SESSION: Document = {"expires_at": datetime.fromtimestamp(0, UTC)}


@dataclass(frozen=True, slots=True)
class Proof:
    """A server that was the primary at some time after `began`."""

    server: Server
    began: float
    """Monotonic time at which the linearizable read began. Every write acknowledged before is visible."""


class PrimaryLease:
    """Renews the lease in the background, and returns the results of queries that it covers.

    Fails closed: without a proof it raises `Unavailable`. Queries wait for a proof while there is no
    primary, as in an election, so that a short one refuses nothing. If there is a primary that
    nobody confirms, they are refused at once.
    """

    def __init__(self, prove: Callable[[], Awaitable[Server]], now: Callable[[], float] = time.monotonic) -> None:
        """`prove` does a linearizable read, within `LEASE_SECONDS`, and returns which server answered it."""
        self._prove = prove
        self._now = now
        self._proof: Proof | None = None
        self._confirmed_at = -math.inf
        self._is_failing = False
        self._is_refusing = False
        self._attempt = asyncio.Event()
        self._wanted = asyncio.Event()

    @property
    def is_held(self) -> bool:
        """Whether there is a proof that still counts."""
        return self._proof is not None and self._now() - self._proof.began <= LEASE_SECONDS

    def seconds_since(self) -> float:
        """Return the time since a majority last confirmed the primary; infinite if none did."""
        return self._now() - self._confirmed_at

    async def renew_forever(self) -> None:
        """Renew the lease twice a second, and at once when a query finds that the primary has changed."""
        while True:
            self._wanted.clear()
            began = self._now()
            await self._renew(began)
            attempt, self._attempt = self._attempt, asyncio.Event()
            attempt.set()
            pause = max(began + RENEWAL_SECONDS - self._now(), 0.0)
            if self._is_failing:
                await asyncio.sleep(pause)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wanted.wait()

    async def covered(self, query: Callable[[], Awaitable[tuple[FoundT, Server | None]]]) -> FoundT:
        """Return what `query` found on the server that it names. Raises `Unavailable` if no proof covers it.

        The proof is older than the query, from the same server, and not expired when the query
        ends. One retry follows if that fails, since the primary may have changed.
        """
        deadline = _seconds_from_now(ELECTION_WAIT_SECONDS)
        for _ in range(2):
            proof = await self._current(deadline)
            found, server = await query()
            if server == proof.server and self._now() - proof.began <= LEASE_SECONDS:
                return found
            if self._proof is proof:
                self._proof = None
        raise Unavailable("the database's primary changes, try again")

    async def awaited(self) -> bool:
        """Return whether the lease is held, or renewed within `LEASE_SECONDS`."""
        with contextlib.suppress(Unavailable):
            await self._current(_seconds_from_now(LEASE_SECONDS))
        return self.is_held

    async def _current(self, deadline: float) -> Proof:
        if self._proof is not None and self.is_held:
            return self._proof
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while not self.is_held and not self._is_refusing:
                    self._wanted.set()
                    await self._attempt.wait()
        if self._proof is None or not self.is_held:
            raise Unavailable("the database does not confirm that it is the primary, try again")
        return self._proof

    async def _renew(self, began: float) -> None:
        try:
            self._proof = Proof(await self._prove(), began)
        except (PyMongoError, TimeoutError) as error:
            no_primary = isinstance(error, AutoReconnect) and not isinstance(error, NetworkTimeout)
            self._failed(error, is_refusing=not no_primary)
        except Exception as error:  # one failure must not stop the renewals
            log.exception("lease on the primary cannot be renewed, trying again")
            self._failed(error, is_refusing=True)
        else:
            if not self.is_held:  # the proof took longer than it counts
                return self._failed(TimeoutError(), is_refusing=True)
            self._confirmed_at = began
            if self._is_failing:
                log.info("database is confirmed to be the primary again")
            self._is_failing = self._is_refusing = False

    def _failed(self, error: Exception, *, is_refusing: bool) -> None:
        if not self._is_failing:
            log.warning(
                "database does not confirm that it is the primary, tokens are refused until it does",
                extra={"error": type(error).__name__, "code": getattr(error, "code", None)},
            )
        self._is_failing, self._is_refusing = True, is_refusing


class ProvenDatabase:
    """Implements the port `Database`: replies, and is confirmed to be the primary.

    Like the database's own answer, a confirmation may be missing for as long as a planned election
    takes. Requests are refused meanwhile, but edges stay in their load balancers.
    """

    def __init__(self, database: Database, lease: PrimaryLease) -> None:
        self._database = database
        self._lease = lease

    async def ping(self) -> bool:
        # Concurrently, since edges wait two seconds at most for both.
        replies, confirmed = await asyncio.gather(self._database.ping(), self._lease.awaited())
        return replies and (confirmed or self._lease.seconds_since() < PLANNED_ELECTION_SECONDS)


def server_of(cursor: Cursor) -> Server | None:
    """Return the server that answered the cursor's query, or None before it was read."""
    server: Server | None = getattr(cursor, "delegate", cursor).address  # Motor's cursor has PyMongo's as `delegate`
    return server


async def confirm_primary(database: MongoDatabase) -> Server:
    """Return the server that a majority confirms to be the primary, within `LEASE_SECONDS`.

    Raises a `PyMongoError` or `TimeoutError` otherwise.
    """
    sessions = database.collection("sessions")
    with call_time_limit(LEASE_SECONDS):
        try:
            return await _answering(sessions.with_options(read_concern=ReadConcern("linearizable")))
        except OperationFailure as error:
            if error.code != NOT_A_REPLICA_SET:
                raise
        return await _answering(sessions)


async def lease_problems(database: MongoDatabase) -> list[str]:
    """Return why workers could not hold the lease on a database that answers otherwise, one line per problem."""
    for _ in range(CHECKS):
        began = time.monotonic()
        try:
            await confirm_primary(database)
        except OperationFailure as error:
            if not error.timeout:
                return [
                    f"refuses linearizable reads with error {error.code}, so workers would refuse all tokens. Use a"
                    " replica set of MongoDB, or set AUTH_PRIMARY_LEASE to false"
                ]
        except (PyMongoError, TimeoutError):
            continue
        else:
            if time.monotonic() - began <= RENEWAL_SECONDS:
                return []
    return [
        f"is not confirmed by a majority within {RENEWAL_SECONDS:g} s to be the primary, so workers would refuse"
        " tokens. Look at the state of its members and at their replication lag"
    ]


def _seconds_from_now(seconds: float) -> float:
    """Return a deadline in event-loop time."""
    return asyncio.get_running_loop().time() + seconds


async def _answering(sessions: Collection) -> Server:
    cursor = sessions.find(_NO_SESSION, ["_id"]).limit(1)
    await cursor.to_list(1)
    server = server_of(cursor)
    if server is None:
        raise RuntimeError("a cursor that was read names no server")
    return server
