"""user.get"""

import pytest

from shared.contracts.errors import UserNotFound
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_get import USER_GET
from shared.contracts.user_update import USER_UPDATE
from tests.unit.worker.in_memory import InMemoryWorker


async def test_get_returns_user_as_created(worker: InMemoryWorker, shop: str) -> None:
    created = await worker.create(shop, "ann", scope={"company": ["read"]})
    await worker.create(shop, "anna")
    assert await worker.call(USER_GET, tenantToken=shop, login="ann") == created
    assert "password" not in str(created.model_dump()).lower()


@pytest.mark.usefixtures("ann")
async def test_get_after_update_returns_new_values(worker: InMemoryWorker, shop: str) -> None:
    updated = await worker.call(USER_UPDATE, tenantToken=shop, login="ann", email="new@example.com")
    assert await worker.call(USER_GET, tenantToken=shop, login="ann") == updated


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("login", ["nobody", "an", "annn", "Ann", "ann "])
async def test_get_other_login_is_not_found(worker: InMemoryWorker, shop: str, login: str) -> None:
    with pytest.raises(UserNotFound):
        await worker.call(USER_GET, tenantToken=shop, login=login)


@pytest.mark.usefixtures("ann")
async def test_get_deleted_user_is_not_found(worker: InMemoryWorker, shop: str) -> None:
    await worker.call(USER_DELETE, tenantToken=shop, login="ann")
    with pytest.raises(UserNotFound):
        await worker.call(USER_GET, tenantToken=shop, login="ann")


@pytest.mark.usefixtures("ann")
async def test_get_writes_no_audit_record(worker: InMemoryWorker, shop: str) -> None:
    """Operations that only read leave no record."""
    before = dict(worker.audit.records)
    await worker.call(USER_GET, tenantToken=shop, login="ann")
    assert worker.audit.records == before
