"""The edge's cache of verifications: what an entry depends on, and what invalidates it."""

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from api.verifying import EdgeVerificationCache
from shared.contracts.auth_verify import VerifyCheck
from shared.contracts.claims import Claims
from shared.contracts.errors import InvalidTenantToken, InvalidToken
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
        return


class Workers:
    """Implements `CheckVerifier`: it knows the live tokens and counts the requests."""

    def __init__(self) -> None:
        self.asked = 0
        self.tenants: set[str] = set()
        self.users: dict[tuple[str, str], Claims] = {}

    async def verify(self, check: VerifyCheck) -> Claims:
        self.asked += 1
        if check.tenant_token not in self.tenants:
            raise InvalidTenantToken
        try:
            return self.users[check.tenant_token, check.token]
        except KeyError:
            raise InvalidToken from None


class Edge:
    """The verifier of an edge, with one tenant and one user logged in."""

    def __init__(self, **tenant: Any) -> None:
        self.workers = Workers()
        self.feeds: list[FakeFeed] = []
        self.verifier = EdgeVerificationCache(self.workers, self._make_feed, max_age_seconds=600)
        self.tenant = some_claims(**{"exp": int(time.time()) + 3600, **tenant})
        self.user = some_claims(exp=int(time.time()) + 3600)
        self.check = VerifyCheck(tenant_token=token_of(self.tenant), token=token_of(self.user))
        self.workers.tenants.add(self.check.tenant_token)
        self.workers.users[self.check.tenant_token, self.check.token] = self.user

    @property
    def feed(self) -> FakeFeed:
        return self.feeds[0]

    def _make_feed(
        self, *, on_revoked: Callable[[SessionRevokedEvent], None], on_interrupted: Callable[[], None]
    ) -> FakeFeed:
        self.feeds.append(FakeFeed(on_revoked=on_revoked, on_interrupted=on_interrupted))
        return self.feed


def token_of(claims: Claims) -> str:
    return jwt.encode(claims.model_dump(), "x" * 32, algorithm="HS256")


async def test_cached_answer_is_used_only_for_the_same_tenant_token() -> None:
    """Another tenant token, valid or not, is checked by a worker."""
    edge = Edge()
    for _ in range(3):
        assert await edge.verifier.verify(edge.check) == edge.user
    assert edge.workers.asked == 1
    with pytest.raises(InvalidTenantToken):
        await edge.verifier.verify(edge.check.model_copy(update={"tenant_token": "another"}))
    other = token_of(some_claims(exp=int(time.time()) + 3600))
    edge.workers.tenants.add(other)
    with pytest.raises(InvalidToken):
        await edge.verifier.verify(edge.check.model_copy(update={"tenant_token": other}))


@pytest.mark.parametrize("owner", ["user", "tenant"])
async def test_cached_answer_is_dropped_when_either_session_is_revoked(owner: str) -> None:
    edge = Edge()
    await edge.verifier.verify(edge.check)
    edge.feed.on_revoked(a_revocation(getattr(edge, owner)))
    await edge.verifier.verify(edge.check)
    assert edge.workers.asked == 2


async def test_cached_answer_for_an_access_token_is_dropped_when_its_api_key_is_revoked() -> None:
    """The `jti` of an access token names no session."""
    edge = Edge(jti="random", client_id="key")
    await edge.verifier.verify(edge.check)
    edge.feed.on_revoked(a_revocation(edge.tenant.model_copy(update={"jti": "key"})))
    await edge.verifier.verify(edge.check)
    assert edge.workers.asked == 2


async def test_answer_for_an_expired_tenant_token_is_not_cached() -> None:
    edge = Edge(exp=int(time.time()) - 1)  # expired by the edge's clock; the worker's clock may differ
    for _ in range(2):
        await edge.verifier.verify(edge.check)
    assert edge.workers.asked == 2


async def test_token_without_a_live_feed_is_always_verified_by_a_worker() -> None:
    edge = Edge()
    edge.feed.alive = False
    for _ in range(2):
        await edge.verifier.verify(edge.check)
    assert edge.workers.asked == 2
