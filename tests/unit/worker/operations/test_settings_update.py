"""settings.update"""

from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.errors import Forbidden
from shared.contracts.key_rotate import KEY_ROTATE
from shared.contracts.permissions import OPERATOR_PERMISSIONS, TENANT_PERMISSIONS, Permission
from shared.contracts.settings_get import SETTINGS_GET
from shared.contracts.settings_update import SETTINGS_UPDATE
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_enable import TENANT_ENABLE
from tests.fakes import NOW
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operators import operator_on
from tests.unit.worker.test_principal import a_key
from worker.domain.tenant_settings import max_key_lifetime
from worker.domain.views import milliseconds


async def test_setting_is_changed_and_null_restores_the_default(worker: InMemoryWorker, shop: str) -> None:
    changed = await worker.call(SETTINGS_UPDATE, tenantToken=shop, settings={"maxKeyLifetimeDays": 90})
    assert changed.to_json() == b'{"maxKeyLifetimeDays":90}'
    tenant = await worker.tenants.find((await worker.session_of(shop)).tenant)
    assert tenant is not None
    assert max_key_lifetime(tenant) == timedelta(days=90)
    restored = await worker.call(SETTINGS_UPDATE, tenantToken=shop, settings={"maxKeyLifetimeDays": None})
    assert restored.to_json() == b"{}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"maxKeyLifetimeDay": 90}, "settings\n.*must have no members but maxKeyLifetimeDays"),
        ({"maxKeyLifetimeDays": 90, "x": 1}, "settings\n.*must have no members but maxKeyLifetimeDays"),
        ({"maxKeyLifetimeDays": 0}, "settings.maxKeyLifetimeDays"),
        ({"maxKeyLifetimeDays": 3_654}, "settings.maxKeyLifetimeDays"),
        ({"maxKeyLifetimeDays": "many"}, "settings.maxKeyLifetimeDays"),
        ({}, "provide at least one setting"),
    ],
)
async def test_unknown_or_wrong_setting_is_refused(
    worker: InMemoryWorker, shop: str, settings: dict[str, Any], message: str
) -> None:
    """A misspelt limit that seems to be accepted would protect nothing."""
    with pytest.raises(ValueError, match=message):
        await worker.call(SETTINGS_UPDATE, tenantToken=shop, settings=settings)
    assert (await worker.call(SETTINGS_GET, tenantToken=shop)).max_key_lifetime_days is None


async def test_retry_does_not_undo_a_later_change(worker: InMemoryWorker, shop: str) -> None:
    for message_id, days in (("first", 1), ("second", 2), ("first", 1)):
        request = {"maxKeyLifetimeDays": days}
        found = await worker.call(SETTINGS_UPDATE, message_id, tenantToken=shop, settings=request)
    assert found.max_key_lifetime_days == 2


async def test_settings_survive_disabling(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop)
    await worker.call(SETTINGS_UPDATE, tenantToken=shop, settings={"maxKeyLifetimeDays": 7})
    await worker.call(TENANT_DISABLE, **operator.on_shop)
    await worker.call(TENANT_ENABLE, **operator.on_shop)
    assert (await worker.call(SETTINGS_GET, **operator.on_shop)).max_key_lifetime_days == 7


async def test_settings_of_another_tenant_do_not_change(worker: InMemoryWorker, shop: str) -> None:
    bank = await worker.register("bank@example.com")
    await worker.call(SETTINGS_UPDATE, tenantToken=shop, settings={"maxKeyLifetimeDays": 7})
    assert (await worker.call(SETTINGS_GET, tenantToken=bank)).max_key_lifetime_days is None


async def test_change_by_an_operator_is_in_the_tenants_trail(worker: InMemoryWorker, shop: str) -> None:
    """With the names of the settings, and without their values."""
    operator = await operator_on(worker, shop)
    worker.audit.records.clear()
    await worker.call(SETTINGS_UPDATE, **operator.on_shop, settings={"maxKeyLifetimeDays": 7})
    records = [record for record in worker.audit.records.values() if record.tenant == operator.shop]
    assert [(record.type, record.changed) for record in records] == [("settings.update", ("maxKeyLifetimeDays",))]


async def test_permission_to_write_the_tenant_is_needed(worker: InMemoryWorker, shop: str) -> None:
    _, key = await a_key(worker, shop, permissions=TENANT_PERMISSIONS - {Permission.TENANT_WRITE})
    operator = await operator_on(worker, shop, OPERATOR_PERMISSIONS - {Permission.TENANT_WRITE})
    for caller in ({"tenantToken": key}, operator.on_shop):
        with pytest.raises(Forbidden) as refused:
            await worker.call(SETTINGS_UPDATE, **caller, settings={"maxKeyLifetimeDays": 7})
        assert refused.value.details == {"permission": "tenant:write"}


@pytest.mark.parametrize(("limit", "days"), [(7, 7), (30, 30), (31, 30), (None, 30)])
async def test_new_and_rotated_keys_live_no_longer_than_the_tenant_allows(
    worker: InMemoryWorker, shop: str, limit: int | None, days: int
) -> None:
    """A key that was made before keeps its expiry until it is rotated, and its length beyond the limit."""
    old = (await worker.create_key(shop, expiresInDays=30)).key
    await worker.call(SETTINGS_UPDATE, tenantToken=shop, settings={"maxKeyLifetimeDays": limit})
    new = (await worker.create_key(shop, expiresInDays=30)).key
    assert old.expires_at == milliseconds(NOW + timedelta(days=30))
    assert new.expires_at == milliseconds(NOW + timedelta(days=days))
    worker.clock.advance(timedelta(days=1))
    for key in (old, new):
        rotated = (await worker.call(KEY_ROTATE, tenantToken=shop, id=key.id)).key
        assert rotated.expires_at == milliseconds(NOW + timedelta(days=1 + days))
    await worker.call(SETTINGS_UPDATE, tenantToken=shop, settings={"maxKeyLifetimeDays": None})
    again = (await worker.call(KEY_ROTATE, tenantToken=shop, id=new.id)).key
    assert again.expires_at == milliseconds(NOW + timedelta(days=31))
