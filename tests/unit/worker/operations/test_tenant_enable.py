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
async def test_enabled_tenant_logs_in_with_its_old_password(worker: InMemoryWorker) -> None:
    await worker.call(TENANT_DISABLE, **BY_KEY)
    await worker.call(TENANT_ENABLE, **BY_KEY)
    assert await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)


async def test_enabling_an_active_tenant_keeps_its_sessions(worker: InMemoryWorker, shop: str) -> None:
    await worker.call(TENANT_ENABLE, **BY_KEY)
    assert await worker.call(TENANT_VERIFY, token=shop)


@pytest.mark.usefixtures("shop")
async def test_repeated_enabling_does_not_undo_a_later_disabling(worker: InMemoryWorker) -> None:
    await worker.call(TENANT_ENABLE, "message", **BY_KEY)
    await worker.call(TENANT_DISABLE, **BY_KEY)
    await worker.call(TENANT_ENABLE, "message", **BY_KEY)
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)


@pytest.mark.usefixtures("shop")
async def test_enabling_needs_the_registration_key(worker: InMemoryWorker) -> None:
    """Only the key's holder learns which tenants are unknown."""
    await worker.call(TENANT_DISABLE, **BY_KEY)
    for email in (EMAIL, "nobody@example.com"):
        with pytest.raises(InvalidCredentials):
            await worker.call(TENANT_ENABLE, email=email, registrationKey="another key")
    with pytest.raises(TenantNotFound):
        await worker.call(TENANT_ENABLE, email="nobody@example.com", registrationKey=REGISTRATION_KEY)
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)
