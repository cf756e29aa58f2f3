"""auth.verify"""

import random
from collections import Counter
from datetime import datetime

import pytest

from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.auth_verify import AUTH_VERIFY, MAX_BATCH
from shared.contracts.claims import Claims
from shared.contracts.errors import ErrorCode
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.user import User
from tests.fakes import ISSUER, MASTER_KEYS, NOW
from tests.unit.worker.in_memory import InMemoryWorker
from worker.adapters.jwt_tokens import JwtTokens
from worker.domain.records import StoredSession


class CountingTokens(JwtTokens):
    """Counts how often each token is verified."""

    def __init__(self) -> None:
        super().__init__(MASTER_KEYS, ISSUER)
        self.verified: Counter[str] = Counter()

    def verify(self, token: str, session: StoredSession, now: datetime) -> Claims:
        self.verified[token] += 1
        return super().verify(token, session, now)


async def outcomes(worker: InMemoryWorker, *checks: tuple[str, str]) -> list[str]:
    """Return for each check the login of the claims, or the error code."""
    asked = [{"tenantToken": tenant_token, "token": token} for tenant_token, token in checks]
    reply = await worker.call(AUTH_VERIFY, checks=asked)
    return [
        answer.claims.login if answer.claims else str(answer.error and answer.error.code) for answer in reply.answers
    ]


@pytest.mark.usefixtures("ann")
async def test_live_token_is_answered_with_its_claims(worker: InMemoryWorker, shop: str) -> None:
    assert (await worker.verify(shop, await worker.login(shop))).login == "ann"


async def test_batch_of_mixed_checks_is_answered_in_order(worker: InMemoryWorker, shop: str) -> None:
    """It holds live, revoked, foreign and malformed tokens of two tenants."""
    bank = await worker.register("bank@example.com")
    checks: list[tuple[tuple[str, str], str]] = []
    for number in range(30):
        tenant_token = (shop, bank)[number % 2]
        login = f"user-{number}"
        await worker.create(tenant_token, login)
        token, dead = await worker.login(tenant_token, login), await worker.login(tenant_token, login)
        await worker.call(AUTH_LOGOUT, tenantToken=tenant_token, token=dead)
        checks += [
            ((tenant_token, token), login),
            ((tenant_token, dead), ErrorCode.INVALID_TOKEN),
            (((bank, shop)[number % 2], token), ErrorCode.INVALID_TOKEN),
            ((tenant_token, tenant_token), ErrorCode.INVALID_TOKEN),
            ((tenant_token, "no.token.at all"), ErrorCode.INVALID_TOKEN),
            ((token, token), ErrorCode.INVALID_TENANT_TOKEN),
            (("nothing", token), ErrorCode.INVALID_TENANT_TOKEN),
        ]
    random.Random(1).shuffle(checks)
    assert await outcomes(worker, *(check for check, _ in checks)) == [outcome for _, outcome in checks]


async def test_full_batch_costs_one_query(worker: InMemoryWorker, shop: str) -> None:
    """Repeated sessions are queried once."""
    tokens = []
    for number in range(MAX_BATCH // 2):
        await worker.create(shop, f"user-{number}")
        tokens.append(await worker.login(shop, f"user-{number}"))
    worker.sessions.finds.clear()
    found = await outcomes(worker, *((shop, token) for token in tokens * 2))
    assert found == [f"user-{number}" for number in range(MAX_BATCH // 2)] * 2
    (asked,) = worker.sessions.finds
    assert len(asked) == len(set(asked)) == MAX_BATCH // 2 + 1


async def test_batch_of_malformed_tokens_costs_no_query(worker: InMemoryWorker) -> None:
    assert await outcomes(worker, ("x", "y"), ("z", "y")) == [ErrorCode.INVALID_TENANT_TOKEN] * 2
    assert worker.sessions.finds == []


async def test_tenant_token_is_verified_once_per_batch() -> None:
    """Most checks of a batch share one tenant token. This holds for valid and invalid ones."""
    tokens = CountingTokens()
    worker = InMemoryWorker(tokens=tokens)
    shop, bank = await worker.register(), await worker.register("bank@example.com")
    await worker.create(shop, "ann")
    token = await worker.login(shop)
    forged = bank[:-43] + shop[-43:]
    tokens.verified.clear()
    await outcomes(worker, *([(shop, token), (forged, token)] * 10))
    assert tokens.verified[shop] == 1
    assert tokens.verified[forged] == 1
    assert tokens.verified[token] == 10


@pytest.mark.usefixtures("ann")
async def test_check_with_a_revoked_tenant_token_is_refused(worker: InMemoryWorker, shop: str) -> None:
    token = await worker.login(shop)
    await worker.call(TENANT_LOGOUT, token=shop)
    assert await outcomes(worker, (shop, token)) == [ErrorCode.INVALID_TENANT_TOKEN]


async def test_successful_verification_is_recorded_as_activity(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """A refused one is not."""
    token = await worker.login(shop)
    worker.activity.last_seen.clear()
    await worker.verify(shop, token)
    assert worker.activity.last_seen == {ann.id: NOW}
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)
    worker.activity.last_seen.clear()
    assert await outcomes(worker, (shop, token)) == [ErrorCode.INVALID_TOKEN]
    assert worker.activity.last_seen == {}
