"""Claims of verified tokens, kept for as long as nothing can have happened to them. No I/O: time and events come in.

An answer is kept only if nothing that would contradict it arrived while it was on its way. For this the cache counts
what it is told: a question remembers the count from before it was asked (`position`), and a revocation the count at
which it came.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..amqp.clock import elapsed_seconds
from ..contracts.claims import Claims

#: Some two or three kilobytes each, of tokens and claims with a scope of a line; ten times that with the largest.
DEFAULT_MAX_ENTRIES = 10_000
#: Revocations and refusals remembered for answers under way, which take milliseconds. Older answers are not kept.
MAX_INVALIDATIONS = 10_000

Key = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    claims: Claims
    sessions: Sequence[str]
    until: float
    """On the monotonic clock: the age that the caller allows."""
    expires_at: float
    """On the clock of the tokens: `exp`."""


class ClaimsCache:
    """Bounded; the oldest entry goes first. Its keys are tokens, so it has no representation that shows any."""

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
        self._entries: dict[Key, _Entry] = {}
        self._keys: dict[str, set[Key]] = {}
        self._invalidated_at: dict[str | int, int] = {}
        self._oldest_valid_position = 0
        self.position = 0
        """How much this cache has been told. Note it before asking a worker."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Claims | None:
        """The claims under this key, if they may still be believed."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._monotonic() >= entry.until or self._now() >= entry.expires_at:
            self.drop(key)
            return None
        return _own_copy(entry.claims)

    def revoked_since(self, position: int, sessions: Sequence[str]) -> bool:
        """Whether one of these sessions is known to have ended since then."""
        return any(self._invalidated_at.get(session, 0) > position for session in sessions)

    def store(
        self,
        key: Key,
        claims: Claims,
        sessions: Sequence[str],
        *,
        requested_at: float,
        position: int,
        expires_at: float,
    ) -> None:
        """Keeps the answer to a question asked at `requested_at`, on the monotonic clock, and at `position`.

        It goes with any of `sessions`, and at `expires_at` on the clock of the tokens. It is not kept if it may have
        been overtaken by what the cache was told meanwhile.
        """
        # The time that is left of it, too: a clock that is set back later gives nobody more.
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
        """The session has ended: drops its entries, and remembers it for the answers under way."""
        for key in tuple(self._keys.get(session, ())):
            self.drop(key)
        self._record_invalidation(session)

    def refuse(self, key: Key) -> None:
        """A worker refused what this entry says: drops it, and keeps no older answer that is still on its way."""
        self.drop(key)
        self._record_invalidation(_refusal_id(key))

    def clear(self) -> None:
        """Something may have been missed: drops everything, and keeps no answer to a question already asked."""
        self._entries.clear()
        self._keys.clear()
        self.position += 1
        self._oldest_valid_position = self.position

    def drop(self, key: Key) -> None:
        """Forgets one entry, if it is there."""
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


def _refusal_id(key: Key) -> int:
    """What is remembered of a refusal; no session has such an id.

    Not the key: strangers choose what is refused, and how long it is. Two that share a hash are both refused, so an
    answer may not be kept that could have been.
    """
    return hash(key)


def _own_copy(claims: Claims) -> Claims:
    """Claims cannot be changed, but a scope that is an object can; one caller's changes are not another's rights."""
    if isinstance(claims.scope, dict):
        return claims.model_copy(update={"scope": copy.deepcopy(claims.scope)})
    return claims
