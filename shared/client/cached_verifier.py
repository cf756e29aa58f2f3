"""Verification with a cache, in microseconds; a feed of revocations keeps the cache valid.

How long a token is still accepted after its session, or the session or API key of the calling service, is revoked:

- until the event arrives, which takes milliseconds;
- for three seconds at most if the feed was interrupted and has not noticed it yet (`PROBE_SECONDS`
  and `GRACE_SECONDS` of `amqp.feed`);
- never longer than the maximum age, and never after the token's `exp` or the
  expiry of the service's credential.

While the feed is not alive, the verifier sends each token to a worker.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from ..amqp.clock import elapsed_seconds
from ..contracts.claims import Claims
from ..contracts.errors import OUTAGES, Forbidden, InvalidTenantToken, InvalidToken, ServiceCredentialsRejected
from ..contracts.events import SessionRevokedEvent
from .claims_cache import DEFAULT_MAX_ENTRIES, ClaimsCache
from .feed_port import FeedFactory
from .validity import Validity

#: Longest time between two verifications of a token by `until_ended`, whatever the feed delivers.
RECHECK_SECONDS = 30.0
#: Time until `until_ended` retries after a temporary or internal error.
UNANSWERED_RETRY_SECONDS = 1.0


KeyT = TypeVar("KeyT", bound=str | tuple[str, ...])


@dataclass(slots=True)
class VerificationCounts:
    """Counts of verifications by source of their answer."""

    hits: int = 0
    """Answered from the cache."""
    misses: int = 0
    """Sent to a worker, because the cache had no entry."""
    distrusts: int = 0
    """Sent to a worker, because the feed was not alive."""


class CachedVerifier(Generic[KeyT]):
    """Verifies user tokens from a cache while its feed is alive, and at a worker otherwise.

    It is an async context manager. `AuthClient.verifier` creates one whose keys are tokens. Any
    number of tasks may use it at once.
    """

    counts: VerificationCounts
    """Verifications so far."""

    def __init__(
        self,
        verify_now: Callable[[KeyT], Awaitable[tuple[Claims, Validity | None]]],
        make_feed: FeedFactory,
        *,
        max_age_seconds: float,
        max_entries: int = DEFAULT_MAX_ENTRIES,
        monotonic: Callable[[], float] = elapsed_seconds,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`verify_now` verifies a token at a worker, and returns how long that answer is valid. None: it is not
        cached.

        With `max_age_seconds=0` each token is verified at a worker. Raises `ValueError` for a
        negative maximum age or fewer than one entry.
        """
        if not max_age_seconds >= 0:  # NaN is neither
            raise ValueError("max_age_seconds must be 0 or more")
        if max_entries < 1:
            raise ValueError("max_entries must be at least 1")
        self._verify_now = verify_now
        self._max_age_seconds = max_age_seconds
        self._monotonic = monotonic
        self._now = now
        self._cache = ClaimsCache(max_age_seconds, max_entries, monotonic=monotonic, now=now)
        self.counts = VerificationCounts()
        self._feed = make_feed(on_revoked=self._revoked, on_interrupted=self._cache.clear)
        self._until_ended: dict[str, set[asyncio.Event]] = {}

    async def __aenter__(self) -> Self:
        await self._feed.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._feed.__aexit__(*exc_info)
        self._cache.clear()

    @property
    def size(self) -> int:
        """Number of answers in the cache."""
        return len(self._cache)

    async def wait_trusted(self, timeout_seconds: float) -> bool:
        """Wait up to `timeout_seconds` for the feed to be alive; return whether it is.

        Waiting is optional: until then each token is verified at a worker.
        """
        return await self._feed.wait_alive(timeout_seconds)

    async def verify(self, key: KeyT) -> Claims:
        """Verify a user token from the cache or at a worker and return its claims.

        Raises the errors of `AuthClient.verify`.
        """
        while (claims := await self._verified(key)) is None:
            pass
        return claims

    async def _verified(self, key: KeyT) -> Claims | None:
        """Return the claims, or None if the caller's own session was revoked while a worker answered.

        A worker then decides again, perhaps with a new session of the caller.
        """
        trusted = self._feed.alive
        if trusted and (claims := self._cache.get(key)) is not None:
            self.counts.hits += 1
            return claims
        if trusted:
            self.counts.misses += 1
        else:
            self.counts.distrusts += 1
        position, requested_at = self._cache.position, self._monotonic()
        try:
            claims, validity = await self._verify_now(key)
        except (InvalidToken, InvalidTenantToken, Forbidden, ServiceCredentialsRejected):
            self._cache.refuse(key)
            raise
        if self._cache.revoked_since(position, (claims.jti,)):  # the revocation overtook the answer
            raise InvalidToken
        if validity is not None and self._cache.revoked_since(position, validity.sessions):
            return None
        if trusted and validity is not None:
            self._cache.store(
                key,
                claims,
                validity.sessions,
                requested_at=requested_at,
                position=position,
                expires_at=validity.expires_at,
            )
        return claims

    async def until_ended(self, key: KeyT) -> None:
        """Return when the token is no longer accepted: it is invalid, revoked or expired.

        The feed reports a revocation within milliseconds. Without the feed, the token is verified
        every 30 seconds or more often. Without a worker this waits until the token expires by the
        local clock.
        """
        expires_at = math.inf
        while self._now() < expires_at:
            try:
                claims = await self.verify(key)
            except InvalidToken:
                return
            except OUTAGES:
                await asyncio.sleep(UNANSWERED_RETRY_SECONDS)
                continue
            expires_at = claims.exp
            left = min(self._max_age_seconds or RECHECK_SECONDS, RECHECK_SECONDS, claims.exp - self._now())
            with self._end_of(claims.jti) as ended, contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), max(left, 0))

    @contextlib.contextmanager
    def _end_of(self, session: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set when the session is revoked."""
        ended = asyncio.Event()
        waiting = self._until_ended.setdefault(session, set())
        waiting.add(ended)
        try:
            yield ended
        finally:
            waiting.discard(ended)
            if not waiting:
                self._until_ended.pop(session, None)

    def forget(self, claims: Claims) -> None:
        """Treat the session of these claims as revoked, without waiting for the event.

        For a caller that has just revoked the session.
        """
        self._end(claims.jti)

    def _revoked(self, event: SessionRevokedEvent) -> None:
        self._end(event.data.session_id)

    def _end(self, session: str) -> None:
        self._cache.revoke(session)
        for ended in self._until_ended.get(session, ()):
            ended.set()
