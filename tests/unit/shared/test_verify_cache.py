"""What the cache of verified tokens keeps, for how long, and what makes it forget."""

import sys
from typing import Any

import pytest

from shared.client import claims_cache
from shared.client.claims_cache import ClaimsCache
from shared.contracts.claims import Claims
from tests.records import some_claims


class Clock:
    """Both clocks of a cache, set by the test."""

    def __init__(self) -> None:
        self.monotonic = 100.0
        self.now = 1_800_000_000.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def a_cache(clock: Clock, max_age_seconds: float = 10, max_entries: int = 3) -> ClaimsCache:
    return ClaimsCache(max_age_seconds, max_entries, monotonic=lambda: clock.monotonic, now=lambda: clock.now)


def live_claims(clock: Clock, **changes: Any) -> Claims:
    return some_claims(**{"exp": int(clock.now) + 1_000, **changes})


def keep(cache: ClaimsCache, clock: Clock, key: str, claims: Claims, position: int | None = None) -> None:
    at = cache.position if position is None else position
    cache.store(key, claims, (claims.jti,), requested_at=clock.monotonic, position=at, expires_at=claims.exp)


def test_an_answer_is_kept_for_the_maximum_age_from_when_it_was_asked_for(clock: Clock) -> None:
    """The worker may have looked as soon as the question left."""
    cache, claims = a_cache(clock), live_claims(clock)
    requested_at = clock.monotonic
    clock.monotonic += 4
    cache.store("key", claims, (claims.jti,), requested_at=requested_at, position=cache.position, expires_at=claims.exp)
    clock.monotonic = requested_at + 9.9
    assert cache.get("key") == claims
    clock.monotonic = requested_at + 10
    assert cache.get("key") is None
    assert len(cache) == 0


def test_an_answer_that_took_longer_than_the_maximum_age_is_not_kept(clock: Clock) -> None:
    cache, claims = a_cache(clock), live_claims(clock)
    clock.monotonic += 10
    cache.store(
        "key", claims, (claims.jti,), requested_at=clock.monotonic - 10, position=cache.position, expires_at=claims.exp
    )
    assert len(cache) == 0


def test_nothing_is_believed_beyond_exp(clock: Clock) -> None:
    """Whatever age is allowed."""
    cache, claims = a_cache(clock, max_age_seconds=1e9), live_claims(clock)
    keep(cache, clock, "key", claims)
    clock.now = claims.exp - 0.1
    assert cache.get("key") == claims
    clock.now = claims.exp
    assert cache.get("key") is None


def test_a_revocation_drops_every_entry_of_its_session_and_no_other(clock: Clock) -> None:
    cache, ended, other = a_cache(clock), live_claims(clock), live_claims(clock)
    for key, claims in (("a", ended), ("b", ended), ("c", other)):
        keep(cache, clock, key, claims)
    cache.revoke(ended.jti)
    assert [cache.get(key) for key in "abc"] == [None, None, other]


def test_an_entry_goes_with_any_of_its_sessions(clock: Clock) -> None:
    """The edge keeps answers that stand on the tenant's session, too."""
    cache, claims = a_cache(clock), live_claims(clock)
    sessions = (claims.jti, "tenant's")
    cache.store("key", claims, sessions, requested_at=clock.monotonic, position=cache.position, expires_at=claims.exp)
    cache.revoke("tenant's")
    assert cache.get("key") is None


def test_an_answer_overtaken_by_its_revocation_is_not_kept(clock: Clock) -> None:
    """Asked, looked up, revoked, announced, and only then answered."""
    cache, claims, other = a_cache(clock), live_claims(clock), live_claims(clock)
    position = cache.position
    cache.revoke(claims.jti)
    assert cache.revoked_since(position, [claims.jti])
    keep(cache, clock, "key", claims, position)
    keep(cache, clock, "other", other, position)
    assert cache.get("key") is None
    assert cache.get("other") == other


def test_an_answer_overtaken_by_an_interruption_is_not_kept(clock: Clock) -> None:
    """Its revocation may be among what was missed."""
    cache, claims = a_cache(clock), live_claims(clock)
    keep(cache, clock, "before", claims)
    position = cache.position
    cache.clear()
    keep(cache, clock, "asked before", claims, position)
    keep(cache, clock, "asked after", claims)
    assert [cache.get(key) for key in ("before", "asked before", "asked after")] == [None, None, claims]


def test_an_answer_older_than_the_memory_for_revocations_is_not_kept(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be ruled out is taken for possible."""
    monkeypatch.setattr(claims_cache, "MAX_INVALIDATIONS", 2)
    cache, claims = a_cache(clock), live_claims(clock)
    before = cache.position
    cache.revoke("first")
    after_first = cache.position
    for session in ("second", "third"):
        cache.revoke(session)
    keep(cache, clock, "asked before", claims, before)
    keep(cache, clock, "asked after", claims, after_first)
    assert cache.get("asked before") is None
    assert cache.get("asked after") == claims


def test_the_oldest_entry_makes_room(clock: Clock) -> None:
    cache = a_cache(clock, max_entries=2)
    for key in ("a", "b", "a", "c"):
        keep(cache, clock, key, live_claims(clock))
    assert len(cache) == 2
    assert cache.get("b") is None


def test_who_changes_a_scope_changes_nobody_elses(clock: Clock) -> None:
    """A scope that is an object can be changed in place: by who gave it, and by who got it."""
    cache, claims = a_cache(clock), live_claims(clock, scope={"company": "read"})
    keep(cache, clock, "key", claims)
    for given in (claims, cache.get("key")):
        assert given is not None
        assert isinstance(given.scope, dict)
        given.scope["company"] = "admin"
    again = cache.get("key")
    assert again is not None
    assert again.scope == {"company": "read"}


def test_a_clock_that_is_set_back_gives_nobody_more(clock: Clock) -> None:
    """What was left of the token when it was verified is all it gets."""
    cache, claims = a_cache(clock, max_age_seconds=1e9), live_claims(clock)
    keep(cache, clock, "key", claims)
    clock.now -= 500
    clock.monotonic += 999
    assert cache.get("key") == claims
    clock.monotonic += 1
    assert cache.get("key") is None


def test_an_answer_overtaken_by_a_refusal_is_not_kept(clock: Clock) -> None:
    """Two questions about one token, and the later is answered first: no."""
    cache, claims = a_cache(clock), live_claims(clock)
    position = cache.position
    cache.refuse("key")
    keep(cache, clock, "key", claims, position)
    assert cache.get("key") is None
    keep(cache, clock, "key", claims)
    assert cache.get("key") == claims


def test_one_session_named_twice_is_one(clock: Clock) -> None:
    cache, claims = a_cache(clock), live_claims(clock)
    cache.store(
        "key",
        claims,
        (claims.jti, claims.jti),
        requested_at=clock.monotonic,
        position=cache.position,
        expires_at=claims.exp,
    )
    cache.revoke(claims.jti)
    assert cache.get("key") is None


@pytest.mark.parametrize("key", [" a token ".join("xy"), ("a tenant's token", " a token ".join("xy"))])
def test_what_strangers_show_is_not_kept(clock: Clock, key: str | tuple[str, ...]) -> None:
    """Refused tokens may be of any length and number; that they were refused is all that is remembered."""
    cache = a_cache(clock)
    parts = [key] if isinstance(key, str) else [*key]
    before = [sys.getrefcount(each) for each in (key, *parts)]
    cache.refuse(key)
    assert [sys.getrefcount(each) for each in (key, *parts)] == before
