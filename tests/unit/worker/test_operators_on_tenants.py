"""Operators disable, enable, delete and unlock tenants; other changes of tenants are refused."""

from typing import Any

import pytest

from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.errors import (
    Forbidden,
    InvalidCredentials,
    InvalidTenantToken,
    InvalidToken,
    TenantNotFound,
    Throttled,
)
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Operation
from shared.contracts.permissions import OPERATOR_PERMISSIONS, TENANT_PERMISSIONS, Permission
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.tenant_delete import TENANT_DELETE
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.user_update import USER_UPDATE
from tests.fakes import LIMIT
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from tests.unit.worker.operators import Operator, operator_on
from tests.unit.worker.test_principal import a_key, access_token

EMAIL = "shop@example.com"
OPERATIONS_ON_TENANTS = [TENANT_DISABLE, TENANT_ENABLE, TENANT_DELETE]


@pytest.fixture
async def operator(worker: InMemoryWorker, shop: str) -> Operator:
    return await operator_on(worker, shop)


async def test_operator_disables_and_enables_a_tenant(worker: InMemoryWorker, operator: Operator, shop: str) -> None:
    """Without the tenant's password and the registration key."""
    await worker.create(shop)
    token = await worker.login(shop)
    await worker.call(TENANT_DISABLE, **operator.on_shop)
    with pytest.raises(InvalidTenantToken):
        await worker.verify(shop, token)
    with pytest.raises(InvalidCredentials):
        await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)
    assert set(worker.events.reasons.values()) == {RevocationReason.TENANT_DISABLED}
    await worker.call(TENANT_ENABLE, **operator.on_shop)
    again = (await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)).token
    with pytest.raises(InvalidToken):
        await worker.verify(again, token)


async def test_operator_deletes_a_tenant_once(worker: InMemoryWorker, operator: Operator) -> None:
    """A retry succeeds, and spares a later tenant with the same email."""
    await worker.call(TENANT_DELETE, "message", **operator.on_shop)
    later = await worker.register(EMAIL)
    await worker.call(TENANT_DELETE, "message", **operator.on_shop)
    assert await worker.call(PRINCIPAL_GET, tenantToken=later)
    with pytest.raises(TenantNotFound):
        await worker.call(TENANT_DELETE, "another", **operator.on_shop)


async def test_retried_disabling_does_not_disable_a_tenant_that_was_enabled_since(
    worker: InMemoryWorker, operator: Operator
) -> None:
    await worker.call(TENANT_DISABLE, "first", **operator.on_shop)
    await worker.call(TENANT_ENABLE, "second", **operator.on_shop)
    await worker.call(TENANT_DISABLE, "first", **operator.on_shop)
    assert await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)


@pytest.mark.parametrize("operation", OPERATIONS_ON_TENANTS, ids=lambda operation: operation.name)
async def test_credential_without_the_permission_is_refused(
    worker: InMemoryWorker, shop: str, operation: Operation[Any, Any]
) -> None:
    """Nothing changes. A tenant's own token needs the password beside it."""
    session, key = await a_key(worker, shop, permissions=TENANT_PERMISSIONS)
    operator = await operator_on(worker, shop, OPERATOR_PERMISSIONS - {Permission.TENANTS_WRITE})
    for credential in (shop, key, access_token(worker, session, "tenants:write"), operator.token):
        with pytest.raises(Forbidden) as refused:
            await worker.call(operation, tenantToken=credential, onTenant=operator.shop)
        assert refused.value.details == {"permission": "tenants:write"}
    for credential in ("a.b.c", await worker.register("bank@example.com") + "x"):
        with pytest.raises(InvalidTenantToken):
            await worker.call(operation, tenantToken=credential, onTenant=operator.shop)
    assert await worker.call(PRINCIPAL_GET, tenantToken=shop)
    assert worker.events.announced == []


@pytest.mark.parametrize("operation", OPERATIONS_ON_TENANTS, ids=lambda operation: operation.name)
async def test_unknown_tenant_is_not_found(
    worker: InMemoryWorker, operator: Operator, operation: Operation[Any, Any]
) -> None:
    with pytest.raises(TenantNotFound):
        await worker.call(operation, tenantToken=operator.token, onTenant="nobody")


@pytest.mark.parametrize("operation", [TENANT_DISABLE, TENANT_DELETE], ids=lambda operation: operation.name)
async def test_operators_tenant_is_spared(
    worker: InMemoryWorker, operator: Operator, operation: Operation[Any, Any]
) -> None:
    """Otherwise one operator could end the power of all."""
    with pytest.raises(Forbidden, match="operators' tenant"):
        await worker.call(operation, **operator.on_office)
    assert await worker.call(PRINCIPAL_GET, tenantToken=operator.token)


@pytest.mark.usefixtures("ann")
async def test_operator_unlocks_a_throttled_user(worker: InMemoryWorker, operator: Operator) -> None:
    shop = (await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)).token
    about_ann = {"tenantToken": shop, "login": "ann", "deviceId": "phone"}
    for _ in range(LIMIT.undelayed + 2):
        with pytest.raises((InvalidCredentials, Throttled)):
            await worker.call(AUTH_LOGIN, **about_ann, password="wrong")
    with pytest.raises(Throttled):
        await worker.call(AUTH_LOGIN, **about_ann, password=PASSWORD)
    await worker.call(USER_UPDATE, **operator.on_shop, login="ann", unlock=True)
    assert await worker.call(AUTH_LOGIN, **about_ann, password=PASSWORD)


async def test_operator_unlocks_a_tenants_own_login(worker: InMemoryWorker, operator: Operator) -> None:
    log_in = {"email": EMAIL, "clientAddress": "192.0.2.1"}
    for _ in range(LIMIT.undelayed + 2):
        with pytest.raises((InvalidCredentials, Throttled)):
            await worker.call(TENANT_LOGIN, **log_in, password="wrong")
    other_place = {"email": EMAIL, "clientAddress": "192.0.2.2", "password": PASSWORD}
    with pytest.raises(Throttled):
        await worker.call(TENANT_LOGIN, **other_place)
    await worker.call(TENANT_ENABLE, **operator.on_shop)
    assert await worker.call(TENANT_LOGIN, **other_place)


@pytest.mark.parametrize("operation", OPERATIONS_ON_TENANTS, ids=lambda operation: operation.name)
async def test_operation_is_in_the_tenants_trail(
    worker: InMemoryWorker, operator: Operator, operation: Operation[Any, Any]
) -> None:
    worker.audit.records.clear()
    await worker.call(operation, **operator.on_shop)
    of_shop = [record for record in worker.audit.records.values() if record.tenant == operator.shop]
    assert [(record.type, record.login) for record in of_shop] == [(operation.name, f"tenant:{EMAIL}")]
