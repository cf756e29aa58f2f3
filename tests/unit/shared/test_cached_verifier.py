"""The cached verifier in single situations; `test_cached_verifier_model` combines them."""

import asyncio
import time
from collections.abc import Callable

import pytest

from shared.client import cached_verifier
from shared.client.cached_verifier import CachedVerifier, VerificationCounts
from shared.client.validity import Validity
from shared.contracts.claims import Claims
from shared.contracts.errors import (
    AuthError,
    ErrorReply,
    InvalidToken,
    ServiceCredentialsRejected,
    Unavailable,
    from_reply,
)
from shared.contracts.events import SessionRevokedEvent
from tests.records import a_revocation, some_claims


class FakeFeed:
    """A feed whose state and events a test controls."""

    def __init__(
        self, *, on_revoked: Callable[[SessionRevokedEvent], None], on_interrupted: Callable[[], None]
    ) -> None:
        self.alive = True
        self.proven_at = 0.0
        self.on_revoked = on_revoked
        self.on_interrupted = on_interrupted

    async def wait_alive(self, timeout_seconds: float) -> bool:  # noqa: ARG002 - the interface
        return self.alive

    async def __aenter__(self) -> "FakeFeed":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.alive = False


class Worker:
    """A fake of the workers that knows the live tokens and counts requests. A cleared `gate` delays its answers."""

    def __init__(self) -> None:
        self.live: dict[str, Claims] = {}
        self.asked = 0
        self.away = False
        self.failure: AuthError = Unavailable()
        self.questions = asyncio.Queue[str]()
        self.gate = asyncio.Event()
        self.gate.set()
        self.caller = "session of the service"
        self.caller_expires_at = time.time() + 3600

    async def ask(self, token: str) -> tuple[Claims, Validity | None]:
        self.asked += 1
        self.questions.put_nowait(token)
        if self.away:
            raise self.failure
        answer = self.live.get(token)
        validity = None if answer is None else self._validity(answer)
        await self.gate.wait()
        if answer is None:
            raise InvalidToken
        return answer, validity

    def _validity(self, claims: Claims) -> Validity:
        return Validity((claims.jti, self.caller), min(claims.exp, self.caller_expires_at))

    def log_in(self, token: str) -> Claims:
        claims = self.live[token] = some_claims(exp=int(time.time()) + 3600)
        return claims


@pytest.fixture
def worker() -> Worker:
    return Worker()


def a_verifier(worker: Worker, max_age_seconds: float = 60) -> tuple[CachedVerifier[str], FakeFeed]:
    feeds: list[FakeFeed] = []

    def make_feed(*, on_revoked: Callable[[SessionRevokedEvent], None], on_interrupted: Callable[[], None]) -> FakeFeed:
        feeds.append(FakeFeed(on_revoked=on_revoked, on_interrupted=on_interrupted))
        return feeds[0]

    return CachedVerifier(worker.ask, make_feed, max_age_seconds=max_age_seconds), feeds[0]


async def test_token_verified_repeatedly_costs_one_request(worker: Worker) -> None:
    verifier, _ = a_verifier(worker)
    claims = worker.log_in("token")
    assert [await verifier.verify("token") for _ in range(3)] == [claims] * 3
    assert worker.asked == 1


async def test_revocation_event_makes_the_next_verification_ask_a_worker(worker: Worker) -> None:
    verifier, feed = a_verifier(worker)
    claims = worker.log_in("token")
    await verifier.verify("token")
    del worker.live["token"]
    feed.on_revoked(a_revocation(claims))
    with pytest.raises(InvalidToken):
        await verifier.verify("token")
    assert worker.asked == 2


async def test_verification_without_a_live_feed_is_never_cached(worker: Worker) -> None:
    verifier, feed = a_verifier(worker)
    worker.log_in("token")
    feed.alive = False
    for _ in range(2):
        await verifier.verify("token")
    feed.alive = True
    await verifier.verify("token")
    assert worker.asked == 3


async def test_cached_answer_is_unused_while_the_feed_is_not_alive(worker: Worker) -> None:
    """A late probe is no interruption: the cached answer is valid again afterwards."""
    verifier, feed = a_verifier(worker)
    worker.log_in("token")
    await verifier.verify("token")
    feed.alive = False
    await verifier.verify("token")
    assert worker.asked == 2
    feed.alive = True
    await verifier.verify("token")
    assert worker.asked == 2


async def test_maximum_age_of_zero_disables_the_cache(worker: Worker) -> None:
    verifier, _ = a_verifier(worker, max_age_seconds=0)
    worker.log_in("token")
    for _ in range(2):
        await verifier.verify("token")
    assert worker.asked == 2


async def test_answer_that_arrives_after_its_revocation_event_is_refused(worker: Worker) -> None:
    """The worker looked up the session before the logout, and the event arrived first."""
    verifier, feed = a_verifier(worker)
    claims = worker.log_in("token")
    worker.gate.clear()
    verifying = asyncio.create_task(verifier.verify("token"))
    await asyncio.sleep(0)
    feed.on_revoked(a_revocation(claims))
    worker.gate.set()
    with pytest.raises(InvalidToken):
        await verifying


async def test_revocation_of_the_services_own_credential_drops_every_cached_answer(worker: Worker) -> None:
    verifier, feed = a_verifier(worker)
    for token in ("token", "another"):
        worker.log_in(token)
        await verifier.verify(token)
    feed.on_revoked(a_revocation(some_claims(jti=worker.caller)))
    worker.away, worker.failure = True, ServiceCredentialsRejected()
    for token in ("token", "another"):
        with pytest.raises(ServiceCredentialsRejected):
            await verifier.verify(token)


async def test_answer_that_arrives_after_the_revocation_of_the_services_credential_is_asked_again(
    worker: Worker,
) -> None:
    """A service with a password logs in again meanwhile; one with an API key is refused."""
    verifier, feed = a_verifier(worker)
    claims = worker.log_in("token")
    worker.gate.clear()
    verifying = asyncio.create_task(verifier.verify("token"))
    await worker.questions.get()
    feed.on_revoked(a_revocation(some_claims(jti=worker.caller)))
    worker.caller = "the next session of the service"
    worker.gate.set()
    assert await verifying == claims
    await verifier.verify("token")
    assert worker.asked == 2


async def test_cached_answer_ends_with_the_services_credential(worker: Worker) -> None:
    verifier, _ = a_verifier(worker)
    worker.log_in("token")
    worker.caller_expires_at = time.time() - 1
    for _ in range(2):
        await verifier.verify("token")
    assert worker.asked == 2


async def test_answer_that_does_not_tell_what_it_depends_on_is_not_cached(worker: Worker) -> None:
    claims = worker.log_in("token")

    async def ask(token: str) -> tuple[Claims, None]:
        await worker.ask(token)
        return claims, None

    verifier = CachedVerifier(ask, FakeFeed, max_age_seconds=60)
    for _ in range(2):
        assert await verifier.verify("token") == claims
    assert worker.asked == 2


async def test_answer_that_arrives_after_an_interruption_is_not_cached(worker: Worker) -> None:
    verifier, feed = a_verifier(worker)
    worker.log_in("token")
    worker.gate.clear()
    verifying = asyncio.create_task(verifier.verify("token"))
    await asyncio.sleep(0)
    feed.on_interrupted()
    worker.gate.set()
    await verifying
    await verifier.verify("token")
    assert worker.asked == 2


@pytest.mark.parametrize(("max_age_seconds", "max_entries"), [(-1, 1), (float("nan"), 1), (1, 0)])
def test_invalid_cache_setting_raises_an_error(worker: Worker, max_age_seconds: float, max_entries: int) -> None:
    with pytest.raises(ValueError, match="must"):
        CachedVerifier(worker.ask, FakeFeed, max_age_seconds=max_age_seconds, max_entries=max_entries)


async def test_until_ended_returns_on_the_revocation_event(worker: Worker) -> None:
    """Events of other sessions do not wake it."""
    verifier, feed = a_verifier(worker)
    claims = worker.log_in("token")
    waiting = asyncio.create_task(verifier.until_ended("token"))
    for _ in range(5):
        await asyncio.sleep(0)
    feed.on_revoked(a_revocation(some_claims()))
    assert not waiting.done()
    del worker.live["token"]
    feed.on_revoked(a_revocation(claims))
    await asyncio.wait_for(waiting, 5)


async def test_until_ended_without_an_event_asks_again_after_the_maximum_age(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporary errors do not end it, not even unknown ones of a newer worker."""
    monkeypatch.setattr(cached_verifier, "UNANSWERED_RETRY_SECONDS", 0.01)
    verifier, feed = a_verifier(worker, max_age_seconds=0.01)
    feed.alive = False
    worker.log_in("token")
    waiting = asyncio.create_task(verifier.until_ended("token"))
    for away in (False, True):
        worker.away = away
        for _ in range(3):
            await worker.questions.get()
    worker.failure = from_reply(ErrorReply(code="from_tomorrow", message="", retry_after_seconds=1))
    for _ in range(3):
        await worker.questions.get()
    assert not waiting.done()
    worker.away = False
    worker.live.clear()
    await asyncio.wait_for(waiting, 5)


async def test_until_ended_for_an_invalid_token_returns_at_once(worker: Worker) -> None:
    verifier, _ = a_verifier(worker)
    await asyncio.wait_for(verifier.until_ended("token"), 5)


async def test_until_ended_without_a_worker_returns_at_expiry(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_verifier, "UNANSWERED_RETRY_SECONDS", 0.01)
    verifier, feed = a_verifier(worker, max_age_seconds=0.01)
    feed.alive = False
    worker.live["token"] = some_claims(exp=int(time.time()) + 1)
    waiting = asyncio.create_task(verifier.until_ended("token"))
    await worker.questions.get()
    worker.away = True
    await asyncio.wait_for(waiting, 30)


async def test_forgotten_session_is_refused_without_an_event(worker: Worker) -> None:
    """`until_ended` also returns."""
    verifier, _ = a_verifier(worker)
    claims = worker.log_in("token")
    waiting = asyncio.create_task(verifier.until_ended("token"))
    await worker.questions.get()
    await asyncio.sleep(0)
    worker.live.clear()
    verifier.forget(claims)
    with pytest.raises(InvalidToken):
        await verifier.verify("token")
    await asyncio.wait_for(waiting, 5)


async def test_counts_distinguish_hits_misses_and_distrusts(worker: Worker) -> None:
    """A distrust is a request made because the feed was not alive."""
    verifier, feed = a_verifier(worker)
    worker.log_in("token")
    for _ in range(3):
        await verifier.verify("token")
    feed.alive = False
    for _ in range(4):
        await verifier.verify("token")
    assert verifier.counts == VerificationCounts(hits=2, misses=1, distrusts=4)


async def test_rejected_credentials_of_the_service_drop_the_cached_answer(worker: Worker) -> None:
    """The tenant may be disabled, and with it all sessions of its users."""
    worker.log_in("ann's")
    verifier, feed = a_verifier(worker)
    async with verifier:
        await verifier.verify("ann's")
        feed.alive = False
        worker.away, worker.failure = True, ServiceCredentialsRejected()
        with pytest.raises(ServiceCredentialsRejected):
            await verifier.verify("ann's")
        feed.alive = True
        with pytest.raises(ServiceCredentialsRejected):
            await verifier.verify("ann's")
    assert worker.asked == 3
