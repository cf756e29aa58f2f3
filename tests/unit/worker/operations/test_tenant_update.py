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


async def is_live(worker: InMemoryWorker, token: str) -> bool:
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
async def test_update_revokes_all_tenant_sessions_except_the_new_one(
    worker: InMemoryWorker, shop: str, fields: dict[str, str], reason: RevocationReason
) -> None:
    """Each revocation is announced. Users and other tenants are not affected."""
    second, bank = await login(worker), await worker.register("bank@example.com")
    token = await worker.login(shop)
    reply = await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD, **fields)
    assert reply.token == reply.access_token
    assert [await is_live(worker, each) for each in (shop, second, reply.token, bank)] == [False, False, True, True]
    assert worker.events.reasons == {(await worker.session_of(each)).id: reason for each in (shop, second)}
    assert (await worker.verify(reply.token, token)).login == "ann"
    assert await worker.login(reply.token)


async def test_new_tenant_password_replaces_the_old_one(worker: InMemoryWorker, shop: str) -> None:
    await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD, password=NEW_PASSWORD)
    with pytest.raises(InvalidCredentials):
        await login(worker)
    assert await login(worker, NEW_PASSWORD)


async def test_update_without_a_new_password_keeps_the_old_one(worker: InMemoryWorker, shop: str) -> None:
    await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD)
    assert await login(worker)


async def test_update_with_a_token_and_a_wrong_password_is_refused(worker: InMemoryWorker, shop: str) -> None:
    """A stolen token changes nothing."""
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword="wrong", password=NEW_PASSWORD)
    assert await is_live(worker, shop)
    assert worker.events.announced == []
    assert await login(worker)


async def test_update_with_a_password_and_no_live_token_is_refused(worker: InMemoryWorker, shop: str) -> None:
    await worker.call(TENANT_LOGOUT, token=shop)
    with pytest.raises(InvalidTenantToken):
        await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD)
    expired = await login(worker)
    worker.clock.advance(LIFETIMES.tenant)
    with pytest.raises(InvalidTenantToken):
        await worker.call(TENANT_UPDATE, tenantToken=expired, currentPassword=PASSWORD)


@pytest.mark.parametrize("password", ["password", EMAIL, f"tenant:{EMAIL}"])
async def test_update_to_a_refused_password_changes_nothing(worker: InMemoryWorker, shop: str, password: str) -> None:
    """The policy is that of a registration."""
    with pytest.raises(InvalidRequest) as refused:
        await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD, password=password)
    assert [problem.field for problem in refused.value.problems] == ["password"]
    assert await is_live(worker, shop)


async def test_repeated_update_with_another_password_returns_no_token(worker: InMemoryWorker, shop: str) -> None:
    """The message id alone must not be enough to get the token."""
    fields = {"tenantToken": shop, "currentPassword": PASSWORD}
    await worker.call(TENANT_UPDATE, "message", **fields, password=NEW_PASSWORD)
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_UPDATE, "message", **fields, password="the third of my passwords")
    with pytest.raises(InvalidTenantToken):
        await worker.call(TENANT_UPDATE, "message", **fields)
    with pytest.raises(InvalidTenantToken):
        await worker.call(TENANT_UPDATE, "another", **fields, password=NEW_PASSWORD)


class InterruptedHasher(FakeHasher):
    """Changes the tenant's password during `verify`, as another worker may."""

    worker: InMemoryWorker
    shop: str | None = None

    async def verify(self, password_hash: str | None, password: str) -> bool:
        right = await super().verify(password_hash, password)
        if self.shop is not None:
            shop, self.shop = self.shop, None
            await self.worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD, password=NEW_PASSWORD)
        return right


async def test_login_during_a_tenant_password_change_leaves_no_session() -> None:
    """The login with the old password is refused, and its session is revoked."""
    hasher = InterruptedHasher()
    worker = hasher.worker = InMemoryWorker(hasher=hasher)
    hasher.shop = await worker.register(EMAIL)
    with pytest.raises(Unavailable):
        await login(worker)
    assert sorted(worker.events.reasons.values()) == ["all_revoked", "password_changed"]
