"""A limit of sessions per user: a login ends the oldest, and tells of it."""

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
    """A login of its own moment."""
    worker.clock.advance(timedelta(milliseconds=1))
    return await worker.login(shop, login)


async def lives(worker: InMemoryWorker, shop: str, token: str) -> bool:
    try:
        await worker.verify(shop, token)
    except InvalidToken:
        return False
    return True


@pytest.mark.usefixtures("ann")
async def test_the_oldest_ends_first_and_it_is_told(worker: InMemoryWorker, shop: str) -> None:
    """As many as are allowed live, the newest of them; each of the others ended for this reason."""
    tokens = [await login(worker, shop) for _ in range(LIMIT + 2)]
    assert [await lives(worker, shop, token) for token in tokens] == [False, False, True, True, True]
    ended = [(await worker.session_of(token)).id for token in tokens[:2]]
    assert worker.events.reasons == dict.fromkeys(ended, RevocationReason.SESSION_LIMIT)
    assert len((await worker.call(SESSION_LIST, tenantToken=shop, login="ann")).sessions) == LIMIT


@pytest.mark.usefixtures("ann")
async def test_a_limit_is_each_users_own(worker: InMemoryWorker, shop: str) -> None:
    """Others log in as often as they like, and so does the tenant."""
    await worker.create(shop, "bob")
    token = await login(worker, shop)
    for _ in range(LIMIT + 1):
        await login(worker, shop, "bob")
    assert await lives(worker, shop, token)


@pytest.mark.usefixtures("ann")
async def test_a_wrong_password_ends_nothing(worker: InMemoryWorker, shop: str) -> None:
    """Or a stranger could log somebody out."""
    tokens = [await login(worker, shop) for _ in range(LIMIT)]
    with pytest.raises(InvalidCredentials):
        await worker.login(shop, password="wrong")
    assert [await lives(worker, shop, token) for token in tokens] == [True] * LIMIT


@pytest.mark.usefixtures("ann")
async def test_a_login_that_comes_again_ends_no_more(worker: InMemoryWorker, shop: str) -> None:
    """It answers the same token, and those that lived then live on."""
    tokens = [await login(worker, shop) for _ in range(LIMIT)]
    fields = {"tenantToken": shop, "login": "ann", "password": PASSWORD, "deviceId": "watch"}
    worker.clock.advance(timedelta(milliseconds=1))
    first = await worker.call(AUTH_LOGIN, "message", **fields)
    assert await worker.call(AUTH_LOGIN, "message", **fields) == first
    assert [await lives(worker, shop, token) for token in (*tokens, first.access_token)] == [False, True, True, True]
    assert len(worker.events.announced) == 1


@pytest.mark.usefixtures("ann")
async def test_who_logged_out_makes_room(worker: InMemoryWorker, shop: str) -> None:
    """Only sessions that live count."""
    tokens = [await login(worker, shop) for _ in range(LIMIT)]
    session = await worker.session_of(tokens[1])
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=tokens[1])
    await login(worker, shop)
    assert [await lives(worker, shop, token) for token in tokens] == [True, False, True]
    assert worker.events.reasons == {session.id: RevocationReason.LOGOUT}


async def test_a_limit_that_is_new_is_reached_in_steps() -> None:
    """A user with many more sessions than are allowed is brought down to the limit, by the login and by the sweep."""
    worker = InMemoryWorker()
    shop = await worker.register()
    await worker.create(shop)
    tokens = [await login(worker, shop) for _ in range(MAX_OVER_LIMIT + 10)]
    worker.ports = replace(worker.ports, max_sessions_per_user=LIMIT)
    tokens.append(await login(worker, shop))
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    await sweep(worker.ports)
    assert [await lives(worker, shop, token) for token in tokens] == [False] * (len(tokens) - LIMIT) + [True] * LIMIT
    assert await worker.sessions.tenants_enforcing_limit(worker.clock.now()) == []


@pytest.mark.usefixtures("ann")
async def test_a_limit_that_is_lifted_ends_nothing_more(worker: InMemoryWorker, shop: str) -> None:
    """A session that was to displace others, and did not come to it, displaces none when there is no limit now."""
    tokens = [await login(worker, shop) for _ in range(LIMIT)]
    stored = await worker.session_of(tokens[0])
    await worker.sessions.add(replace(stored, id="left-behind-by-a-crash", idempotency_key="it", enforces_limit=True))
    worker.ports = replace(worker.ports, max_sessions_per_user=0)
    worker.clock.advance(GRACE + timedelta(milliseconds=1))
    await sweep(worker.ports)
    assert [await lives(worker, shop, token) for token in tokens] == [True] * LIMIT
    assert await worker.sessions.tenants_enforcing_limit(worker.clock.now()) == []


async def test_without_a_limit_nothing_is_noted() -> None:
    """And nothing more is asked of the database."""
    worker = InMemoryWorker()
    shop = await worker.register()
    await worker.create(shop)
    assert not (await worker.session_of(await login(worker, shop))).enforces_limit
