"""Ports of password checks: hashing and its fair use, counted attempts, and who may register."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from worker.domain.attempts import AttemptCount, Limit
from worker.domain.call import Call

#: Requests of one tenant that a worker handles at a time, beyond its hashing threads. One is read and
#: one is stored meanwhile; otherwise a thread would wait for the database at each login.
BEYOND_THREADS = 2


class Hasher(Protocol):
    """Password hashing outside the event loop, limited to the configured number of threads.

    Passwords are passed in the normalised form that the contracts produce.
    """

    async def hash(self, password: str) -> str: ...

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Return whether the hash is of this password. Without a hash: False, after the same work."""

    def is_stale(self, password_hash: str) -> bool:
        """Return whether the hash was made with other parameters, or under another pepper, than new hashes are."""


class Turns(Protocol):
    """Fair turns for requests that hash passwords: no tenant's requests delay those of all others.

    Requests wait in groups. A group is a tenant, or the callers that have not proven a tenant.
    """

    async def enter(self, group: str, call: Call) -> None:
        """Wait for the request's turn in its group, before anything is hashed or written. A request enters once.

        Raises `Overloaded` at once if too many requests of the group wait, and `DeadlineExceeded`
        if the deadline passes meanwhile. The first hash of the request may raise `DeadlineExceeded`
        as well.
        """

    def leave(self) -> None:
        """End the turn of the request that entered in this task. Does nothing if none entered."""


class Attempts(Protocol):
    """Counts of login attempts by key, shared by all workers. A crash of the database may lose the latest attempts."""

    async def find(self, keys: Sequence[str]) -> dict[str, AttemptCount]:
        """Return the counts that exist under these keys, in one query."""

    async def count(self, key: str, seen: AttemptCount | None, limit: Limit, now: datetime) -> bool:
        """Count one more attempt, which is in flight from now on. `seen` is the count that `find` returned.

        Undelayed attempts are counted concurrently. Among delayed attempts only the first is counted.
        Returns False, and counts nothing, if another attempt was counted since `seen` was read.
        """

    async def failed(self, key: str) -> None:
        """End an attempt in flight as wrong. It stays counted."""

    async def take_back(self, key: str) -> None:
        """End an attempt in flight and remove it from the count."""

    async def keep(self, key: str, now: datetime, until: datetime) -> None:
        """Reset the count to zero and keep its key until `until`, so that `find` returns it."""

    async def forget(self, *keys: str) -> None:
        """Remove the counts, in one write."""


class Registration(Protocol):
    @property
    def has_key(self) -> bool:
        """Whether there is a registration key."""

    def admits(self, address: str | None) -> bool:
        """Return whether a client at this address may register a tenant without the registration key."""

    def is_key(self, key: str) -> bool:
        """Return whether this is the registration key. False if none is configured."""
