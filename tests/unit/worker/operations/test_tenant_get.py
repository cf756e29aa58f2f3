"""tenant.get"""

import pytest

from shared.contracts.errors import Forbidden, TenantNotFound
from shared.contracts.permissions import Permission
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_get import TENANT_GET
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operators import operator_on


async def test_tenant_is_returned_with_its_state(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop)
    tenant = await worker.call(TENANT_GET, **operator.on_shop)
    assert (tenant.id, tenant.email, tenant.disabled) == (operator.shop, "shop@example.com", False)
    await worker.call(TENANT_DISABLE, **operator.on_shop)
    assert (await worker.call(TENANT_GET, **operator.on_shop)).disabled
    assert "hash" not in str(tenant)


async def test_unknown_tenant_is_not_found(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop)
    with pytest.raises(TenantNotFound):
        await worker.call(TENANT_GET, tenantToken=operator.token, onTenant="nobody")


async def test_permission_to_write_tenants_does_not_read_them(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop, frozenset({Permission.TENANTS_WRITE}))
    with pytest.raises(Forbidden):
        await worker.call(TENANT_GET, **operator.on_shop)
