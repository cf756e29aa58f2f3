"""The limit of sessions per user: a login revokes the oldest."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import InvalidCredentials, InvalidToken
from shared.contracts.events import RevocationReason
from shared.contracts.session_list import SESSION_LIST
from tests.sweeping import sweep
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.domain.session_revocation import MAX_OVER_LIMIT
from worker.sweeper import GRACE

LIMIT = 3


@pytest.fixture
def worker() -> InMemoryWorker:
    return InMemoryWorker(max_sessions_per_user=LIMIT)


async def login(worker: InMemoryWorker, shop: str, login: str = "ann") -> str:
    """Log in one millisecond later than before."""
    worker.clock.advance(timedelta(milliseconds=1))
    return await worker.login(shop, login)


async def is_live(worker: InMemoryWorker, shop: str, token: str) -> bool:
    try:
        await worker.verify(shop, token)
    except InvalidToken:
        return False
    return True


@pytest.mark.usefixtures("ann")
async def test_login_over_the_limit_revokes_the_oldest_sessions(worker: InMemoryWorker, shop: str) -> None:
    """Their events carry the reason."""
    tokens = [await login(worker, shop) for _ in range(LIMIT + 2)]
    assert [await is_live(worker, shop, token) for token in tokens] == [False, False, True, True, True]
    ended = [(await worker.session_of(token)).id for token in tokens[:2]]
    assert worker.events.reasons == dict.fromkeys(ended, RevocationReason.SESSION_LIMIT)
    assert len((await worker.call(SESSION_LIST, tenantToken=shop, login="ann")).sessions) == LIMIT


@pytest.mark.usefixtures("ann")
async def test_session_limit_counts_each_user_separately(worker: InMemoryWorker, shop: str) -> None:
    """Sessions of the tenant do not count."""
    await worker.create(shop, "bob")
    token = await login(worker, shop)
    for _ in range(LIMIT + 1):
        await login(worker, shop, "bob")
    assert await is_live(worker, shop, token)


@pytest.mark.usefixtures("ann")
async def test_wrong_password_at_the_limit_revokes_no_session(worker: InMemoryWorker, shop: str) -> None:
    """Otherwise anybody could log a user out."""
    tokens = [await login(worker, shop) for _ in range(LIMIT)]
    with pytest.raises(InvalidCredentials):
        await worker.login(shop, password="wrong")
    assert [await is_live(worker, shop, token) for token in tokens] == [True] * LIMIT


@pytest.mark.usefixtures("ann")
async def test_repeated_login_at_the_limit_revokes_no_further_session(worker: InMemoryWorker, shop: str) -> None:
    tokens = [await login(worker, shop) for _ in range(LIMIT)]
    fields = {"tenantToken": shop, "login": "ann", "password": PASSWORD, "deviceId": "watch"}
    worker.clock.advance(timedelta(milliseconds=1))
    first = await worker.call(AUTH_LOGIN, "message", **fields)
    assert await worker.call(AUTH_LOGIN, "message", **fields) == first
    assert [await is_live(worker, shop, token) for token in (*tokens, first.access_token)] == [False, True, True, True]
    assert len(worker.events.announced) == 1


@pytest.mark.usefixtures("ann")
async def test_revoked_session_does_not_count_towards_the_limit(worker: InMemoryWorker, shop: str) -> None:
    tokens = [await login(worker, shop) for _ in range(LIMIT)]
    session = await worker.session_of(tokens[1])
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=tokens[1])
    await login(worker, shop)
    assert [await is_live(worker, shop, token) for token in tokens] == [True, False, True]
    assert worker.events.reasons == {session.id: RevocationReason.LOGOUT}


async def test_new_limit_is_enforced_by_login_and_sweep() -> None:
    """The user has many more sessions than one step revokes."""
    worker = InMemoryWorker()
    shop = await worker.register()
    await worker.create(shop)
    tokens = [await login(worker, shop) for _ in range(MAX_OVER_LIMIT + 10)]
    worker.ports = replace(worker.ports, max_sessions_per_user=LIMIT)
    tokens.append(await login(worker, shop))
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    await sweep(worker.ports)
    assert [await is_live(worker, shop, token) for token in tokens] == [False] * (len(tokens) - LIMIT) + [True] * LIMIT
    assert await worker.sessions.tenants_enforcing_limit(worker.clock.now()) == []


@pytest.mark.usefixtures("ann")
async def test_removed_limit_revokes_no_session(worker: InMemoryWorker, shop: str) -> None:
    """A worker crashed before it enforced the old limit for a session."""
    tokens = [await login(worker, shop) for _ in range(LIMIT)]
    stored = await worker.session_of(tokens[0])
    await worker.sessions.add(replace(stored, id="left-behind-by-a-crash", idempotency_key="it", enforces_limit=True))
    worker.ports = replace(worker.ports, max_sessions_per_user=0)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    await sweep(worker.ports)
    assert [await is_live(worker, shop, token) for token in tokens] == [True] * LIMIT
    assert await worker.sessions.tenants_enforcing_limit(worker.clock.now()) == []


async def test_login_without_a_limit_opens_a_session_that_enforces_none() -> None:
    """Therefore the sweep needs no query for it."""
    worker = InMemoryWorker()
    shop = await worker.register()
    await worker.create(shop)
    assert not (await worker.session_of(await login(worker, shop))).enforces_limit
