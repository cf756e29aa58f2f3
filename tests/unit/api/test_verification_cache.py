"""The edge's cache of verifications: what an entry depends on, and what invalidates it."""

import time
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

import jwt
import pytest

from api.verifying import EdgeVerificationCache
from shared.amqp.verification_batcher import Verified
from shared.client.validity import is_tenant_token
from shared.contracts.api_key import new_api_key
from shared.contracts.auth_verify import CallerSession, VerifyCheck
from shared.contracts.claims import TENANT_TYPE, Claims
from shared.contracts.errors import Forbidden, InvalidTenantToken, InvalidToken
from shared.contracts.events import SessionRevokedEvent
from tests.records import a_revocation, some_claims
from worker.adapters.jwt_tokens import ACCESS_TYPE

#: An API key, and an access token: the edge cannot read their session.
CREDENTIALS = (
    new_api_key("k" * 22),
    jwt.encode({"jti": "random", "exp": 2**33}, "x" * 32, algorithm="HS256", headers={"typ": ACCESS_TYPE}),
)


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
    """Implements `WorkerVerifier`: it knows the live tokens and counts the requests."""

    def __init__(self) -> None:
        self.asked = 0
        self.tenants: set[str] = set()
        self.users: dict[tuple[str, str], Claims] = {}
        self.caller: CallerSession | None = None
        self.network: IPv4Network | None = None

    async def verified(self, check: VerifyCheck) -> Verified:
        self.asked += 1
        if self.network is not None and (check.caller_address is None or check.caller_address not in self.network):
            raise Forbidden
        if check.tenant_token not in self.tenants:
            raise InvalidTenantToken
        try:
            return Verified(self.users[check.tenant_token, check.token], self.caller)
        except KeyError:
            raise InvalidToken from None


class Edge:
    """The verifier of an edge, with one tenant and one user logged in."""

    def __init__(self, credential: str | None = None, caller: CallerSession | None = None, /, **tenant: Any) -> None:
        self.workers = Workers()
        self.workers.caller = caller
        self.feeds: list[FakeFeed] = []
        self.verifier = EdgeVerificationCache(self.workers, self._make_feed, max_age_seconds=600)
        self.tenant = some_claims(**{"exp": int(time.time()) + 3600, **tenant})
        self.user = some_claims(exp=int(time.time()) + 3600)
        self.check = VerifyCheck(tenant_token=credential or token_of(self.tenant), token=token_of(self.user))
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
    return jwt.encode(claims.model_dump(), "x" * 32, algorithm="HS256", headers={"typ": TENANT_TYPE})


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


@pytest.mark.parametrize("credential", CREDENTIALS, ids=["api key", "access token"])
async def test_cached_answer_for_an_api_key_or_access_token_is_dropped_when_the_key_is_revoked(credential: str) -> None:
    """Neither text tells the edge a session: the worker does."""
    edge = Edge(credential, CallerSession(session_id="key", exp=int(time.time()) + 60))
    for _ in range(2):
        await edge.verifier.verify(edge.check)
    assert edge.workers.asked == 1
    edge.feed.on_revoked(a_revocation(edge.tenant.model_copy(update={"jti": "key"})))
    edge.workers.tenants.clear()
    with pytest.raises(InvalidTenantToken):
        await edge.verifier.verify(edge.check)


@pytest.mark.parametrize("credential", CREDENTIALS, ids=["api key", "access token"])
async def test_cached_answer_for_a_credential_ends_at_its_expiry(credential: str) -> None:
    edge = Edge(credential, CallerSession(session_id="key", exp=int(time.time()) - 1))
    for _ in range(2):
        await edge.verifier.verify(edge.check)
    assert edge.workers.asked == 2


@pytest.mark.parametrize("credential", CREDENTIALS, ids=["api key", "access token"])
async def test_answer_without_the_session_of_the_credential_is_not_cached(credential: str) -> None:
    edge = Edge(credential)
    for _ in range(2):
        await edge.verifier.verify(edge.check)
    assert edge.workers.asked == 2


@pytest.mark.parametrize("credential", CREDENTIALS, ids=["api key", "access token"])
async def test_cached_answer_is_not_used_for_a_caller_at_another_address(credential: str) -> None:
    """The networks of the key may refuse it."""
    edge = Edge(credential, CallerSession(session_id="key", exp=int(time.time()) + 60))
    edge.workers.network = IPv4Network("192.0.2.0/24")
    inside, outside = (
        VerifyCheck(tenant_token=edge.check.tenant_token, token=edge.check.token, caller_address=address)
        for address in ("192.0.2.1", "198.51.100.1")
    )
    for _ in range(2):
        await edge.verifier.verify(inside)
        for refused in (outside, edge.check):
            with pytest.raises(Forbidden):
                await edge.verifier.verify(refused)
    assert edge.workers.asked == 5


async def test_cached_answer_for_a_tenant_token_is_used_at_every_address() -> None:
    edge = Edge()
    for address in ("192.0.2.1", "198.51.100.1"):
        await edge.verifier.verify(
            VerifyCheck(tenant_token=edge.check.tenant_token, token=edge.check.token, caller_address=address)
        )
    assert edge.workers.asked == 1


@pytest.mark.parametrize("text", ["", ".", "e30.", "W10.x.y", "bnVsbA.x.y", "ä.b.c", "W1tb" * 4_000, "x" * 90])
def test_credential_of_any_form_is_no_tenant_token(text: str) -> None:
    assert not is_tenant_token(text)


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
