"""tenant.delete"""

from typing import Any

import pytest

from shared.contracts.errors import (
    EmailTaken,
    InvalidCredentials,
    InvalidTenantToken,
    InvalidToken,
    TenantNotFound,
    Unavailable,
)
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.tenant_delete import TENANT_DELETE
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.tenant_verify import TENANT_VERIFY
from shared.contracts.user_create import USER_CREATE
from tests.fakes import REGISTRATION_KEY, FakeHasher
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

EMAIL = "shop@example.com"
BY_KEY = {"email": EMAIL, "registrationKey": REGISTRATION_KEY}


@pytest.fixture(params=["tenant", "operator"])
def authority(request: pytest.FixtureRequest, shop: str) -> dict[str, Any]:
    """Return the authority of the tenant or of the operator."""
    return {"tenantToken": shop, "password": PASSWORD} if request.param == "tenant" else BY_KEY


@pytest.mark.usefixtures("ann")
async def test_deletion_removes_users_and_revokes_all_sessions(
    worker: InMemoryWorker, shop: str, authority: dict[str, Any]
) -> None:
    """Each revocation is announced. Another tenant is not affected."""
    tenant = (await worker.session_of(shop)).tenant
    token, bank = await worker.login(shop), await worker.register("bank@example.com")
    await worker.create(bank)
    theirs = await worker.login(bank)
    assert await worker.call(TENANT_DELETE, **authority) == Done.now()
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_VERIFY, token=shop)
    with pytest.raises(InvalidTenantToken):
        await worker.verify(shop, token)
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)
    assert await worker.users.page(tenant, "", "", 10) == []
    ended = [(await worker.session_of(each)).id for each in (shop, token)]
    assert worker.events.reasons == dict.fromkeys(ended, RevocationReason.TENANT_DELETED)
    assert (await worker.verify(bank, theirs)).login == "ann"


async def test_email_of_a_deleted_tenant_can_be_registered_again(
    worker: InMemoryWorker, shop: str, authority: dict[str, Any]
) -> None:
    """The new tenant has no users, and old tokens are invalid for it."""
    await worker.create(shop)
    token = await worker.login(shop)
    await worker.call(TENANT_DELETE, **authority)
    successor = await worker.register()
    with pytest.raises(InvalidToken):
        await worker.verify(successor, token)
    assert (await worker.create(successor)).login == "ann"


async def test_repeated_deletion_spares_a_new_tenant_with_the_email(
    worker: InMemoryWorker, authority: dict[str, Any]
) -> None:
    for _ in range(2):
        assert await worker.call(TENANT_DELETE, "message", **authority) == Done.now()
    successor = await worker.register()
    assert await worker.call(TENANT_DELETE, "message", **authority) == Done.now()
    assert await worker.call(TENANT_VERIFY, token=successor)


async def test_repeated_registration_of_a_deleted_tenant_is_refused(worker: InMemoryWorker) -> None:
    fields = {"email": EMAIL, "password": PASSWORD}
    await worker.call(TENANT_REGISTER, "message", **fields)
    await worker.call(TENANT_DELETE, **BY_KEY)
    with pytest.raises(EmailTaken):
        await worker.call(TENANT_REGISTER, "message", **fields)
    assert await worker.call(TENANT_REGISTER, "another", **fields)


async def test_deletion_without_authority_is_refused(worker: InMemoryWorker, shop: str) -> None:
    """Wrong password, another tenant's token and a wrong key are not enough."""
    bank = (await worker.call(TENANT_REGISTER, email="bank@example.com", password="the password of a bank")).token
    for fields in (
        {"tenantToken": shop, "password": "wrong"},
        {"tenantToken": bank, "password": PASSWORD},
        {"email": EMAIL, "registrationKey": "another key"},
    ):
        with pytest.raises(InvalidCredentials):
            await worker.call(TENANT_DELETE, **fields)
    with pytest.raises(InvalidTenantToken):
        await worker.call(TENANT_DELETE, tenantToken="a.b.c", password=PASSWORD)
    with pytest.raises(TenantNotFound):
        await worker.call(TENANT_DELETE, email="nobody@example.com", registrationKey=REGISTRATION_KEY)
    for token in (shop, bank):
        assert await worker.call(TENANT_VERIFY, token=token)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tenantToken": "t"},
        {"password": PASSWORD},
        {"email": EMAIL},
        {"registrationKey": REGISTRATION_KEY},
        {"tenantToken": "t", "email": EMAIL},
        {"registrationKey": REGISTRATION_KEY, "password": PASSWORD},
        {"tenantToken": "t", "password": PASSWORD, **BY_KEY},
        {"onTenant": "id"},
        {"tenantToken": "t", "password": PASSWORD, "onTenant": "id"},
    ],
    ids=lambda fields: "+".join(fields) or "nothing",
)
async def test_request_without_exactly_one_authority_is_refused(worker: InMemoryWorker, fields: dict[str, str]) -> None:
    """It would be unclear which tenant is meant."""
    with pytest.raises(
        ValueError, match="provide tenantToken and password, registrationKey and email, or an operator's tenantToken"
    ):
        await worker.call(TENANT_DELETE, **fields)


class InterruptedHasher(FakeHasher):
    """Deletes the tenant during a computation, as another worker may."""

    worker: InMemoryWorker
    armed = False

    async def _compute(self) -> None:
        await super()._compute()
        if self.armed:
            self.armed = False
            await self.worker.call(TENANT_DELETE, **BY_KEY)


async def test_login_or_creation_during_the_deletion_leaves_nothing() -> None:
    hasher = InterruptedHasher()
    worker = hasher.worker = InMemoryWorker(hasher=hasher)
    for race in ("auth.login", "user.create"):
        shop = await worker.register()
        tenant = (await worker.session_of(shop)).tenant
        ann = await worker.create(shop)
        stored = await worker.users.find(ann.tenant, "ann")
        assert stored is not None
        hasher.armed = True
        if race == "auth.login":
            with pytest.raises(Unavailable):
                await worker.login(shop)
            assert await worker.sessions.live_of_user(stored, worker.clock.now(), 10) == []
        else:
            with pytest.raises(InvalidTenantToken):
                await worker.call(
                    USER_CREATE, tenantToken=shop, login="bob", email="bob@example.com", password=PASSWORD
                )
        assert await worker.users.page(tenant, "", "", 10) == []
