"""tenant.reset"""

import base64
import logging
from datetime import timedelta

import pytest

from shared.contracts.errors import Forbidden, TenantNotFound
from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission
from shared.contracts.tenant_reset import TENANT_RESET
from tests.fakes import NOW
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operators import operator_on
from worker.domain.views import milliseconds


async def test_code_is_random_and_expires_after_an_hour(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop)
    replies = [await worker.call(TENANT_RESET, **operator.on_shop) for _ in range(2)]
    assert replies[0].code != replies[1].code
    assert len(base64.urlsafe_b64decode(replies[0].code)) >= 16
    assert {reply.expires_at for reply in replies} == {milliseconds(NOW + timedelta(hours=1))}


async def test_code_is_in_no_stored_record_log_line_or_repr(
    worker: InMemoryWorker, shop: str, caplog: pytest.LogCaptureFixture
) -> None:
    operator = await operator_on(worker, shop)
    with caplog.at_level(logging.DEBUG):
        reply = await worker.call(TENANT_RESET, **operator.on_shop)
    tenant = await worker.tenants.find(operator.shop)
    assert tenant is not None
    assert tenant.reset is not None
    seen = [repr(reply), str(reply), caplog.text, repr(tenant), repr(worker.audit.records), repr(tenant.reset.digests)]
    assert not [each for each in seen if reply.code in each]
    assert "digests" not in repr(tenant)


async def test_only_an_operator_who_may_write_tenants_gets_a_code(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop, OPERATOR_PERMISSIONS - {Permission.TENANTS_WRITE})
    for credential in (operator.token, shop):
        with pytest.raises(Forbidden):
            await worker.call(TENANT_RESET, tenantToken=credential, onTenant=operator.shop)
    tenant = await worker.tenants.find(operator.shop)
    assert tenant is not None
    assert tenant.reset is None


async def test_operators_tenant_gets_no_code(worker: InMemoryWorker, shop: str) -> None:
    """Its token opens the operators' login, and its password deletes it."""
    operator = await operator_on(worker, shop)
    with pytest.raises(Forbidden, match="operators' tenant"):
        await worker.call(TENANT_RESET, **operator.on_office)


async def test_unknown_tenant_is_not_found(worker: InMemoryWorker, shop: str) -> None:
    operator = await operator_on(worker, shop)
    with pytest.raises(TenantNotFound):
        await worker.call(TENANT_RESET, tenantToken=operator.token, onTenant="nobody")
