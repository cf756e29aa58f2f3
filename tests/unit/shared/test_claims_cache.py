"""The cache of verified tokens: its entries, their age, and their invalidation."""

import sys
from typing import Any

import pytest

from shared.client import claims_cache
from shared.client.claims_cache import ClaimsCache
from shared.contracts.claims import Claims
from tests.records import some_claims


class Clock:
    """Both clocks of a cache, set by a test."""

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


def test_answer_is_cached_for_the_maximum_age_since_its_request(clock: Clock) -> None:
    """The worker may have looked up the session right after the request was sent."""
    cache, claims = a_cache(clock), live_claims(clock)
    requested_at = clock.monotonic
    clock.monotonic += 4
    cache.store("key", claims, (claims.jti,), requested_at=requested_at, position=cache.position, expires_at=claims.exp)
    clock.monotonic = requested_at + 9.9
    assert cache.get("key") == claims
    clock.monotonic = requested_at + 10
    assert cache.get("key") is None
    assert len(cache) == 0


def test_answer_slower_than_the_maximum_age_is_not_cached(clock: Clock) -> None:
    cache, claims = a_cache(clock), live_claims(clock)
    clock.monotonic += 10
    cache.store(
        "key", claims, (claims.jti,), requested_at=clock.monotonic - 10, position=cache.position, expires_at=claims.exp
    )
    assert len(cache) == 0


def test_cached_answer_ends_at_exp_with_any_maximum_age(clock: Clock) -> None:
    cache, claims = a_cache(clock, max_age_seconds=1e9), live_claims(clock)
    keep(cache, clock, "key", claims)
    clock.now = claims.exp - 0.1
    assert cache.get("key") == claims
    clock.now = claims.exp
    assert cache.get("key") is None


def test_revocation_drops_only_the_entries_of_its_session(clock: Clock) -> None:
    cache, ended, other = a_cache(clock), live_claims(clock), live_claims(clock)
    for key, claims in (("a", ended), ("b", ended), ("c", other)):
        keep(cache, clock, key, claims)
    cache.revoke(ended.jti)
    assert [cache.get(key) for key in "abc"] == [None, None, other]


def test_revocation_of_any_session_of_an_entry_drops_it(clock: Clock) -> None:
    """Entries of the edge also depend on the tenant's session."""
    cache, claims = a_cache(clock), live_claims(clock)
    sessions = (claims.jti, "tenant's")
    cache.store("key", claims, sessions, requested_at=clock.monotonic, position=cache.position, expires_at=claims.exp)
    cache.revoke("tenant's")
    assert cache.get("key") is None


def test_answer_that_arrives_after_its_revocation_is_not_cached(clock: Clock) -> None:
    """The worker looked up the session before it was revoked."""
    cache, claims, other = a_cache(clock), live_claims(clock), live_claims(clock)
    position = cache.position
    cache.revoke(claims.jti)
    assert cache.revoked_since(position, [claims.jti])
    keep(cache, clock, "key", claims, position)
    keep(cache, clock, "other", other, position)
    assert cache.get("key") is None
    assert cache.get("other") == other


def test_answer_that_arrives_after_an_interruption_is_not_cached(clock: Clock) -> None:
    """The revocation may be among the missed events."""
    cache, claims = a_cache(clock), live_claims(clock)
    keep(cache, clock, "before", claims)
    position = cache.position
    cache.clear()
    keep(cache, clock, "asked before", claims, position)
    keep(cache, clock, "asked after", claims)
    assert [cache.get(key) for key in ("before", "asked before", "asked after")] == [None, None, claims]


def test_answer_older_than_the_recorded_revocations_is_not_cached(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dropped record may have held its revocation."""
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


def test_full_cache_drops_its_oldest_entry(clock: Clock) -> None:
    cache = a_cache(clock, max_entries=2)
    for key in ("a", "b", "a", "c"):
        keep(cache, clock, key, live_claims(clock))
    assert len(cache) == 2
    assert cache.get("b") is None


def test_changing_a_returned_scope_leaves_the_cache_unchanged(clock: Clock) -> None:
    """Scopes may be objects, which callers can change in place."""
    cache, claims = a_cache(clock), live_claims(clock, scope={"company": "read"})
    keep(cache, clock, "key", claims)
    for given in (claims, cache.get("key")):
        assert given is not None
        assert isinstance(given.scope, dict)
        given.scope["company"] = "admin"
    again = cache.get("key")
    assert again is not None
    assert again.scope == {"company": "read"}


def test_clock_set_back_does_not_extend_a_cached_token(clock: Clock) -> None:
    """The remaining lifetime is measured with the monotonic clock."""
    cache, claims = a_cache(clock, max_age_seconds=1e9), live_claims(clock)
    keep(cache, clock, "key", claims)
    clock.now -= 500
    clock.monotonic += 999
    assert cache.get("key") == claims
    clock.monotonic += 1
    assert cache.get("key") is None


def test_answer_that_arrives_after_a_refusal_is_not_cached(clock: Clock) -> None:
    """Two requests about one token are answered in reverse order."""
    cache, claims = a_cache(clock), live_claims(clock)
    position = cache.position
    cache.refuse("key")
    keep(cache, clock, "key", claims, position)
    assert cache.get("key") is None
    keep(cache, clock, "key", claims)
    assert cache.get("key") == claims


def test_session_listed_twice_for_an_entry_is_revoked_once(clock: Clock) -> None:
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
def test_refused_token_is_not_stored(clock: Clock, key: str | tuple[str, ...]) -> None:
    """Refused tokens may be of any length and number; the cache keeps only a record of the refusal."""
    cache = a_cache(clock)
    parts = [key] if isinstance(key, str) else [*key]
    before = [sys.getrefcount(each) for each in (key, *parts)]
    cache.refuse(key)
    assert [sys.getrefcount(each) for each in (key, *parts)] == before
