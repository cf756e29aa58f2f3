"""settings.get"""

import pytest

from shared.contracts.errors import Forbidden
from shared.contracts.permissions import Permission
from shared.contracts.settings_get import SETTINGS_GET
from shared.contracts.settings_update import SETTINGS_UPDATE
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operators import operator_on
from tests.unit.worker.test_principal import a_key
from worker.domain.tenant_settings import NO_LIMIT, max_key_lifetime


async def test_new_tenant_has_no_settings(worker: InMemoryWorker, shop: str) -> None:
    """So everything is as it was before there were settings."""
    assert (await worker.call(SETTINGS_GET, tenantToken=shop)).to_json() == b"{}"
    tenant = await worker.tenants.find((await worker.session_of(shop)).tenant)
    assert tenant is not None
    assert max_key_lifetime(tenant) == NO_LIMIT


async def test_key_reads_settings_only_with_the_permission(worker: InMemoryWorker, shop: str) -> None:
    _, key = await a_key(worker, shop, permissions=frozenset({Permission.TENANT_READ}))
    assert await worker.call(SETTINGS_GET, tenantToken=key)
    with pytest.raises(Forbidden):
        await worker.call(SETTINGS_UPDATE, tenantToken=key, settings={"maxKeyLifetimeDays": 1})


async def test_operator_reads_the_settings_of_the_tenant_that_it_names(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop, frozenset({Permission.TENANT_READ}))
    await worker.call(SETTINGS_UPDATE, tenantToken=shop, settings={"maxKeyLifetimeDays": 7})
    assert (await worker.call(SETTINGS_GET, **operator.on_shop)).max_key_lifetime_days == 7
    assert (await worker.call(SETTINGS_GET, **operator.on_office)).max_key_lifetime_days is None
