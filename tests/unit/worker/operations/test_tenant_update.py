"""tenant.update"""

import pytest

from shared.contracts.errors import (
    InvalidCredentials,
    InvalidRequest,
    InvalidTenantToken,
    InvalidToken,
    Unavailable,
)
from shared.contracts.events import RevocationReason
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.tenant_update import TENANT_UPDATE
from shared.contracts.tenant_verify import TENANT_VERIFY
from tests.fakes import LIFETIMES, FakeHasher
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

EMAIL = "shop@example.com"
NEW_PASSWORD = "another fine password"


async def login(worker: InMemoryWorker, password: str = PASSWORD) -> str:
    return (await worker.call(TENANT_LOGIN, email=EMAIL, password=password)).token


async def lives(worker: InMemoryWorker, token: str) -> bool:
    try:
        await worker.call(TENANT_VERIFY, token=token)
    except InvalidToken:
        return False
    return True


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(
    ("fields", "reason"),
    [({}, RevocationReason.ALL_REVOKED), ({"password": NEW_PASSWORD}, RevocationReason.PASSWORD_CHANGED)],
    ids=["rotation", "new password"],
)
async def test_every_token_ends_but_the_new_one(
    worker: InMemoryWorker, shop: str, fields: dict[str, str], reason: RevocationReason
) -> None:
    """The tenant's own, each with its event; its users stay logged in, and another tenant notices nothing."""
    second, bank = await login(worker), await worker.register("bank@example.com")
    token = await worker.login(shop)
    reply = await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD, **fields)
    assert reply.token == reply.access_token
    assert [await lives(worker, each) for each in (shop, second, reply.token, bank)] == [False, False, True, True]
    assert worker.events.reasons == {(await worker.session_of(each)).id: reason for each in (shop, second)}
    assert (await worker.verify(reply.token, token)).login == "ann"
    assert await worker.login(reply.token)


async def test_a_new_password_takes_the_place_of_the_old(worker: InMemoryWorker, shop: str) -> None:
    """From then on it logs in, and the old one is a wrong one."""
    await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD, password=NEW_PASSWORD)
    with pytest.raises(InvalidCredentials):
        await login(worker)
    assert await login(worker, NEW_PASSWORD)


async def test_a_rotation_leaves_the_password(worker: InMemoryWorker, shop: str) -> None:
    """Without a new password the old one stays."""
    await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD)
    assert await login(worker)


async def test_a_token_is_not_enough(worker: InMemoryWorker, shop: str) -> None:
    """Who has stolen it, and knows no password, changes nothing and ends nothing."""
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword="wrong", password=NEW_PASSWORD)
    assert await lives(worker, shop)
    assert worker.events.announced == []
    assert await login(worker)


async def test_a_password_is_not_enough(worker: InMemoryWorker, shop: str) -> None:
    """Nor is one with a token that has ended, or that is another tenant's, which does not know this password."""
    await worker.call(TENANT_LOGOUT, token=shop)
    with pytest.raises(InvalidTenantToken):
        await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD)
    expired = await login(worker)
    worker.clock.advance(LIFETIMES.tenant)
    with pytest.raises(InvalidTenantToken):
        await worker.call(TENANT_UPDATE, tenantToken=expired, currentPassword=PASSWORD)


@pytest.mark.parametrize("password", ["password", EMAIL, f"tenant:{EMAIL}"])
async def test_a_password_that_may_not_be_chosen(worker: InMemoryWorker, shop: str, password: str) -> None:
    """It is refused as at a registration, and nothing has happened."""
    with pytest.raises(InvalidRequest) as refused:
        await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD, password=password)
    assert [problem.field for problem in refused.value.problems] == ["password"]
    assert await lives(worker, shop)


async def test_another_password_under_the_same_message_id(worker: InMemoryWorker, shop: str) -> None:
    """Who knows of the request, but not the password that it set, gets no token for it."""
    fields = {"tenantToken": shop, "currentPassword": PASSWORD}
    await worker.call(TENANT_UPDATE, "message", **fields, password=NEW_PASSWORD)
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_UPDATE, "message", **fields, password="the third of my passwords")
    with pytest.raises(InvalidTenantToken):
        await worker.call(TENANT_UPDATE, "message", **fields)
    with pytest.raises(InvalidTenantToken):
        await worker.call(TENANT_UPDATE, "another", **fields, password=NEW_PASSWORD)


class Interrupted(FakeHasher):
    """While it verifies, the tenant's password is changed, as it may be in another worker."""

    worker: InMemoryWorker
    shop: str | None = None

    async def verify(self, password_hash: str | None, password: str) -> bool:
        right = await super().verify(password_hash, password)
        if self.shop is not None:
            shop, self.shop = self.shop, None
            await self.worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD, password=NEW_PASSWORD)
        return right


async def test_a_login_that_races_leaves_no_session() -> None:
    """A tenant's login with the old password, under way when it changes, is refused, and its session dies."""
    hasher = Interrupted()
    worker = hasher.worker = InMemoryWorker(hasher=hasher)
    hasher.shop = await worker.register(EMAIL)
    with pytest.raises(Unavailable):
        await login(worker)
    assert sorted(worker.events.reasons.values()) == ["all_revoked", "password_changed"]
