"""tenant.enable"""

import pytest

from shared.contracts.errors import InvalidCredentials, TenantNotFound
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_verify import TENANT_VERIFY
from tests.fakes import REGISTRATION_KEY
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

EMAIL = "shop@example.com"
BY_KEY = {"email": EMAIL, "registrationKey": REGISTRATION_KEY}


@pytest.mark.usefixtures("shop")
async def test_a_disabled_tenant_logs_in_again(worker: InMemoryWorker) -> None:
    """With the password that it had."""
    await worker.call(TENANT_DISABLE, **BY_KEY)
    await worker.call(TENANT_ENABLE, **BY_KEY)
    assert await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)


async def test_one_that_is_not_disabled_is_left_alone(worker: InMemoryWorker, shop: str) -> None:
    """Its tokens live on."""
    await worker.call(TENANT_ENABLE, **BY_KEY)
    assert await worker.call(TENANT_VERIFY, token=shop)


@pytest.mark.usefixtures("shop")
async def test_it_does_not_undo_what_was_decided_since(worker: InMemoryWorker) -> None:
    """The same call again leaves a tenant disabled that was disabled after it."""
    await worker.call(TENANT_ENABLE, "message", **BY_KEY)
    await worker.call(TENANT_DISABLE, **BY_KEY)
    await worker.call(TENANT_ENABLE, "message", **BY_KEY)
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)


@pytest.mark.usefixtures("shop")
async def test_only_the_key_enables(worker: InMemoryWorker) -> None:
    """Who has it learns of tenants that there are not; nobody else learns anything."""
    await worker.call(TENANT_DISABLE, **BY_KEY)
    for email in (EMAIL, "nobody@example.com"):
        with pytest.raises(InvalidCredentials):
            await worker.call(TENANT_ENABLE, email=email, registrationKey="another key")
    with pytest.raises(TenantNotFound):
        await worker.call(TENANT_ENABLE, email="nobody@example.com", registrationKey=REGISTRATION_KEY)
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)
