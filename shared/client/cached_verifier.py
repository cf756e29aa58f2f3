"""Verification from memory, for services that need microseconds, on a feed of revocations that keeps it honest.

What it promises: after its session ended, a token is accepted for as long as the event takes to arrive, which is
milliseconds; for three seconds at most when the feed was cut and that is not noticed yet (`PROBE_SECONDS` and
`GRACE_SECONDS` of `amqp.feed`); and whatever happens, never longer than the maximum age nor beyond the token's `exp`.
Where the feed cannot be trusted each token is asked about.
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
from ..contracts.errors import InternalError, InvalidTenantToken, InvalidToken, Temporary
from ..contracts.events import SessionRevokedEvent
from .claims_cache import DEFAULT_MAX_ENTRIES, ClaimsCache
from .feed_port import FeedFactory

#: How often `until_ended` asks at the least, whatever the feed says.
RECHECK_SECONDS = 30.0
#: How soon it asks again where nobody answered.
RETRY_SECONDS = 1.0


QuestionT = TypeVar("QuestionT", bound=str | tuple[str, ...])


@dataclass(frozen=True, slots=True)
class Validity:
    """What an answer stands on: it falls when any of these sessions ends, and at `expires_at` in seconds since the
    epoch."""

    sessions: tuple[str, ...]
    expires_at: float


@dataclass(slots=True)
class VerificationCounts:
    """How the verifications so far were answered."""

    hits: int = 0
    """From memory."""
    misses: int = 0
    """Asked, since memory did not hold them."""
    distrusts: int = 0
    """Asked, since the feed was not alive."""


def user_session_validity(_: object, claims: Claims) -> Validity:
    """Of an answer to a service about its own users: the user's session."""
    return Validity((claims.jti,), claims.exp)


class CachedVerifier(Generic[QuestionT]):
    """Verifies user tokens from memory while that is safe, and asks otherwise; an async context manager.

    `AuthClient.verifier` makes one that is asked about tokens. Any number of tasks may use it at once.
    """

    def __init__(
        self,
        verify_now: Callable[[QuestionT], Awaitable[Claims]],
        make_feed: FeedFactory,
        *,
        max_age_seconds: float,
        max_entries: int = DEFAULT_MAX_ENTRIES,
        validity_of: Callable[[QuestionT, Claims], Validity] = user_session_validity,
        monotonic: Callable[[], float] = elapsed_seconds,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`ask` answers what a worker says of a token now; `basis`, what that answer stands on.

        With a maximum age of 0 each token is asked about.
        """
        if not max_age_seconds >= 0:  # NaN is neither
            raise ValueError("max_age_seconds must be 0 or more")
        if max_entries < 1:
            raise ValueError("max_entries must be at least 1")
        self._verify_now = verify_now
        self._validity_of = validity_of
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

    async def wait_trusted(self, timeout_seconds: float) -> bool:
        """Whether the feed is alive, now or within this time. Nobody has to wait for it: without it, tokens are asked
        about."""
        return await self._feed.wait_alive(timeout_seconds)

    async def verify(self, question: QuestionT) -> Claims:
        """The claims of a live user token, from memory or asked for now. Raises what `AuthClient.verify` raises."""
        trusted = self._feed.alive
        if trusted and (claims := self._cache.get(question)) is not None:
            self.counts.hits += 1
            return claims
        if trusted:
            self.counts.misses += 1
        else:
            self.counts.distrusts += 1
        position, requested_at = self._cache.position, self._monotonic()
        try:
            claims = await self._verify_now(question)
        except (InvalidToken, InvalidTenantToken):
            self._cache.refuse(question)
            raise
        if self._cache.revoked_since(position, (claims.jti,)):  # the end of the session overtook the answer
            raise InvalidToken
        if trusted:
            validity = self._validity_of(question, claims)
            self._cache.store(
                question,
                claims,
                validity.sessions,
                requested_at=requested_at,
                position=position,
                expires_at=validity.expires_at,
            )
        return claims

    async def until_ended(self, question: QuestionT) -> None:
        """Returns when the token is no longer accepted: it is none, its session ended, or it expired.

        The feed wakes it within milliseconds; without the feed it asks from time to time. While nobody can be asked it
        goes on waiting, until the token expires by this machine's clock.
        """
        expires_at = math.inf
        while self._now() < expires_at:
            try:
                claims = await self.verify(question)
            except InvalidToken:
                return
            except (Temporary, InternalError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            expires_at = claims.exp
            left = min(self._max_age_seconds or RECHECK_SECONDS, RECHECK_SECONDS, claims.exp - self._now())
            with self._end_of(claims.jti) as ended, contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), max(left, 0))

    @contextlib.contextmanager
    def _end_of(self, session: str) -> Iterator[asyncio.Event]:
        """Is set when the feed tells of the session's end."""
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
        """Takes the session of these claims for ended: for who has just ended it, and need not wait for the event."""
        self._end(claims.jti)

    def _revoked(self, event: SessionRevokedEvent) -> None:
        self._end(event.data.session_id)

    def _end(self, session: str) -> None:
        self._cache.revoke(session)
        for ended in self._until_ended.get(session, ()):
            ended.set()
