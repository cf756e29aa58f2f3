"""tenant.login"""

from datetime import timedelta

import pytest

from shared.contracts.errors import InvalidCredentials, InvalidToken
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_verify import TENANT_VERIFY
from tests.fakes import ISSUER, LIFETIMES, NOW, REGISTRATION_KEY, FakeHasher
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

EMAIL = "shop@example.com"


async def test_tenant_login_opens_a_session_of_its_own(worker: InMemoryWorker, shop: str) -> None:
    """The reply has the token under both names that clients read."""
    reply = await worker.call(TENANT_LOGIN, email="Shop@Example.com", password=PASSWORD)
    assert reply.token == reply.access_token != shop
    for token in (reply.token, shop):
        assert (await worker.call(TENANT_VERIFY, token=token)).decoded.login == f"tenant:{EMAIL}"


async def test_tenant_token_carries_the_claims_of_its_tenant(worker: InMemoryWorker, shop: str) -> None:
    """Its audience is this service alone."""
    claims = (await worker.call(TENANT_VERIFY, token=shop)).decoded
    expected = {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": claims.id,
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + LIFETIMES.tenant).timestamp()),
        "jti": (await worker.session_of(shop)).id,
        "id": claims.id,
        "login": f"tenant:{EMAIL}",
        "tenant": claims.id,
        "isTenant": True,
    }
    assert claims.model_dump(exclude_unset=True) == expected


async def test_tenant_token_expires_after_its_lifetime(worker: InMemoryWorker, shop: str) -> None:
    worker.clock.advance(LIFETIMES.tenant - timedelta(seconds=1))
    await worker.call(TENANT_VERIFY, token=shop)
    worker.clock.advance(timedelta(seconds=1))
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_VERIFY, token=shop)


@pytest.mark.usefixtures("shop")
async def test_redelivered_tenant_login_returns_the_same_token(worker: InMemoryWorker) -> None:
    first = await worker.call(TENANT_LOGIN, "message", email=EMAIL, password=PASSWORD)
    assert await worker.call(TENANT_LOGIN, "message", email=EMAIL, password=PASSWORD) == first
    assert await worker.call(TENANT_LOGIN, "another", email=EMAIL, password=PASSWORD) != first


class RecordingHasher(FakeHasher):
    """Records the verified hashes."""

    def __init__(self) -> None:
        super().__init__()
        self.checked: list[str | None] = []

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.checked.append(password_hash)
        return await super().verify(password_hash, password)


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
async def test_login_of_a_disabled_tenant_costs_the_work_of_an_unknown_one(password: str) -> None:
    """With its own hash, a right password could take less time than a wrong one."""
    hasher = RecordingHasher()
    worker = InMemoryWorker(hasher=hasher)
    await worker.register()
    await worker.call(TENANT_DISABLE, email=EMAIL, registrationKey=REGISTRATION_KEY)
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_LOGIN, email=EMAIL, password=password)
    assert hasher.checked == [None]


async def test_failed_tenant_login_gets_the_same_answer_after_the_same_work() -> None:
    """Unknown email and wrong password cannot be distinguished."""
    hasher = FakeHasher()
    worker = InMemoryWorker(hasher=hasher)
    await worker.register(EMAIL)
    answers = []
    for email in (EMAIL, "nobody@example.com"):
        before = hasher.work
        with pytest.raises(InvalidCredentials) as caught:
            await worker.call(TENANT_LOGIN, email=email, password="wrong")
        answers.append((caught.value.to_reply(), hasher.work - before))
    assert answers[0] == answers[1]
    assert answers[0][1] == 1


async def test_tenant_login_replaces_a_stale_hash_once() -> None:
    hasher = FakeHasher("yesterday")
    worker = InMemoryWorker(hasher=hasher)
    await worker.register(EMAIL)
    hasher.parameters = "today"
    await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)
    stored = await worker.tenants.find_by_email(EMAIL)
    assert stored is not None
    assert not hasher.is_stale(stored.password_hash)
    await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)
    assert await worker.tenants.find_by_email(EMAIL) == stored


async def test_failed_tenant_login_leaves_a_stale_hash_unchanged() -> None:
    hasher = FakeHasher("yesterday")
    worker = InMemoryWorker(hasher=hasher)
    await worker.register(EMAIL)
    hasher.parameters = "today"
    before = await worker.tenants.find_by_email(EMAIL)
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_LOGIN, email=EMAIL, password="wrong")
    assert await worker.tenants.find_by_email(EMAIL) == before
