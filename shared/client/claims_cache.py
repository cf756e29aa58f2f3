"""A cache of the claims of verified tokens. It does no I/O: clocks are arguments, and events are
calls.

A revocation may arrive while a worker's answer is in flight. To detect this, the cache counts
invalidations. A caller notes the count (`position`) before it sends a verification. The cache
stores the answer only if nothing that contradicts it arrived after that position.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..amqp.clock import elapsed_seconds
from ..contracts.claims import Claims

#: An entry takes two or three kilobytes with a short scope, and ten times that with the largest
#: tokens.
DEFAULT_MAX_ENTRIES = 10_000
#: Invalidations remembered for answers in flight, which take milliseconds. The answer to an older
#: request is not stored.
MAX_INVALIDATIONS = 10_000

CacheKey = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    claims: Claims
    sessions: Sequence[str]
    until: float
    """End of the maximum age, on the monotonic clock."""
    expires_at: float
    """`exp` of the token, on the wall clock."""


class ClaimsCache:
    """A bounded cache that evicts the oldest entry first.

    Its keys are tokens, which are secret, so its `repr` shows none.
    """

    def __init__(
        self,
        max_age_seconds: float,
        max_entries: int = DEFAULT_MAX_ENTRIES,
        *,
        monotonic: Callable[[], float] = elapsed_seconds,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._max_age_seconds = max_age_seconds
        self._max_entries = max_entries
        self._monotonic = monotonic
        self._now = now
        self._entries: dict[CacheKey, _Entry] = {}
        self._keys: dict[str, set[CacheKey]] = {}
        self._invalidated_at: dict[str | int, int] = {}
        self._oldest_valid_position = 0
        self.position = 0
        """The number of invalidations so far. Note it before sending a verification."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: CacheKey) -> Claims | None:
        """Return the claims under this key if they are still valid, else None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._monotonic() >= entry.until or self._now() >= entry.expires_at:
            self.drop(key)
            return None
        return _own_copy(entry.claims)

    def revoked_since(self, position: int, sessions: Sequence[str]) -> bool:
        """Return whether one of these sessions was revoked after this position."""
        return any(self._invalidated_at.get(session, 0) > position for session in sessions)

    def store(
        self,
        key: CacheKey,
        claims: Claims,
        sessions: Sequence[str],
        *,
        requested_at: float,
        position: int,
        expires_at: float,
    ) -> None:
        """Store the answer to a verification sent at `requested_at` (monotonic clock) and
        `position`.

        The entry is valid until one of `sessions` is revoked, and until `expires_at` on the wall
        clock. It is not stored if an invalidation may have arrived after `position`.
        """
        # Also limit the entry by the monotonic clock, so that setting back the wall clock does not
        # extend it.
        until = min(requested_at + self._max_age_seconds, self._monotonic() + expires_at - self._now())
        overtaken = self.revoked_since(position, sessions) or self._invalidated_at.get(_refusal_id(key), 0) > position
        if overtaken or position < self._oldest_valid_position or self._monotonic() >= until:
            return
        sessions = tuple(dict.fromkeys(sessions))
        self.drop(key)
        while len(self._entries) >= self._max_entries:
            self.drop(next(iter(self._entries)))
        self._entries[key] = _Entry(_own_copy(claims), sessions, until, expires_at)
        for session in sessions:
            self._keys.setdefault(session, set()).add(key)

    def revoke(self, session: str) -> None:
        """Drop the entries of a revoked session, and remember it for answers in flight."""
        for key in tuple(self._keys.get(session, ())):
            self.drop(key)
        self._record_invalidation(session)

    def refuse(self, key: CacheKey) -> None:
        """Drop an entry that a worker has refused, and store no earlier answer that is still in
        flight."""
        self.drop(key)
        self._record_invalidation(_refusal_id(key))

    def clear(self) -> None:
        """Drop all entries, and store no answer in flight, because revocations may have been
        missed."""
        self._entries.clear()
        self._keys.clear()
        self.position += 1
        self._oldest_valid_position = self.position

    def drop(self, key: CacheKey) -> None:
        """Drop one entry if it exists."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        for session in entry.sessions:
            keys = self._keys[session]
            keys.discard(key)
            if not keys:
                del self._keys[session]

    def _record_invalidation(self, what: str | int) -> None:
        self.position += 1
        self._invalidated_at.pop(what, None)
        self._invalidated_at[what] = self.position
        if len(self._invalidated_at) > MAX_INVALIDATIONS:
            self._oldest_valid_position = self._invalidated_at.pop(next(iter(self._invalidated_at)))


def _refusal_id(key: CacheKey) -> int:
    """Return the id under which a refusal is remembered; no session has such an id.

    It is a hash, because callers choose the refused keys and their length. If two keys share a
    hash, the refusal counts for both, and a valid answer may not be stored.
    """
    return hash(key)


def _own_copy(claims: Claims) -> Claims:
    """Copy a scope that is an object, so that a caller's changes do not reach other callers.

    All other claims are immutable.
    """
    if isinstance(claims.scope, dict):
        return claims.model_copy(update={"scope": copy.deepcopy(claims.scope)})
    return claims
