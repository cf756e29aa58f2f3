"""The first operator: made once, by one of several commands, and again after a crash."""

import asyncio
import functools
from datetime import timedelta

import pytest
from pydantic import SecretStr

from shared.contracts.errors import InvalidRequest
from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.tenant_delete import TENANT_DELETE
from shared.contracts.tenant_disable import TENANT_DISABLE
from tests.fakes import REGISTRATION_KEY, FakeUsers
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.bootstrap import login_key
from worker.domain.first_operator import OPERATORS_TENANT, BootstrapRefused, create_first_operator
from worker.domain.records import StoredUser

TENANT_EMAIL = "operators@example.com"


async def bootstrap_with_key(
    worker: InMemoryWorker, login: str = "olga", tenant_email: str = TENANT_EMAIL, password: str = PASSWORD
) -> tuple[StoredUser, str]:
    new_key = functools.partial(login_key, worker.ports)
    email = f"{login}@example.com"
    return await create_first_operator(
        login, email, SecretStr(password), tenant_email, ports=worker.ports, new_key=new_key
    )


async def bootstrap(worker: InMemoryWorker, login: str = "olga", tenant_email: str = TENANT_EMAIL) -> StoredUser:
    operator, _key = await bootstrap_with_key(worker, login, tenant_email)
    return operator


async def live_keys(worker: InMemoryWorker) -> int:
    return len(await worker.sessions.live_keys(OPERATORS_TENANT, worker.clock.now(), 10))


async def test_first_operator_logs_in_with_all_permissions(worker: InMemoryWorker) -> None:
    operator, key = await bootstrap_with_key(worker)
    assert operator.tenant == OPERATORS_TENANT
    worker.use_operator_tenant(operator.tenant)
    token = await worker.operator_login(key)
    assert set((await worker.call(PRINCIPAL_GET, tenantToken=token)).permissions) == OPERATOR_PERMISSIONS


async def test_key_of_the_command_permits_logins_only(worker: InMemoryWorker) -> None:
    """The session with which it was made has ended."""
    _, key = await bootstrap_with_key(worker)
    principal = await worker.call(PRINCIPAL_GET, tenantToken=key)
    assert principal.permissions == (Permission.AUTH_LOGIN,)
    assert principal.exp == int((worker.clock.now() + timedelta(days=3_653)).timestamp())
    assert list(worker.events.reasons.values()) == ["logout"]


async def test_first_operator_is_made_in_the_configured_tenant(worker: InMemoryWorker, shop: str) -> None:
    tenant = (await worker.session_of(shop)).tenant
    worker.use_operator_tenant(tenant)
    assert (await bootstrap(worker)).tenant == tenant
    assert await worker.operator_login(shop)
    assert await worker.tenants.find_by_email(TENANT_EMAIL) is None


@pytest.mark.parametrize("setting", [None, "another"])
async def test_second_operator_is_refused_whatever_the_setting(worker: InMemoryWorker, setting: str | None) -> None:
    await bootstrap(worker)
    worker.use_operator_tenant(setting)
    with pytest.raises(BootstrapRefused, match="an operator exists: olga of the tenant operators"):
        await bootstrap(worker, "eve", "eve@example.com")
    assert len(await worker.users.operators(None, 10)) == 1
    assert await worker.tenants.find_by_email("eve@example.com") is None


async def test_of_concurrent_commands_one_makes_the_operator(worker: InMemoryWorker) -> None:
    results = await asyncio.gather(
        bootstrap(worker, "olga"),
        bootstrap(worker, "olga"),
        bootstrap(worker, "eve"),
        bootstrap(worker, "ada", "others@example.com"),
        return_exceptions=True,
    )
    assert sum(isinstance(result, StoredUser) for result in results) == 1
    assert await live_keys(worker) == 1
    assert sum(isinstance(result, BootstrapRefused) for result in results) == 3
    assert len(await worker.users.operators(None, 10)) == 1


async def test_command_after_a_crash_continues_with_the_tenant() -> None:
    class Crashing(FakeUsers):
        async def add(self, user: StoredUser) -> StoredUser:
            if crashes:
                raise ConnectionError
            return await super().add(user)

    crashes = True
    worker = InMemoryWorker(users=Crashing())
    with pytest.raises(ConnectionError):
        await bootstrap(worker)
    crashes = False
    assert (await bootstrap(worker)).tenant == OPERATORS_TENANT


async def test_taken_login_or_email_is_refused(worker: InMemoryWorker, shop: str) -> None:
    """Existing users become operators through operators only: somebody else may know their passwords."""
    with pytest.raises(BootstrapRefused, match="email"):
        await bootstrap(worker, tenant_email="shop@example.com")
    worker.use_operator_tenant((await worker.session_of(shop)).tenant)
    await worker.create(shop, "olga")
    with pytest.raises(BootstrapRefused, match="login"):
        await bootstrap(worker)


async def test_disabled_tenant_is_refused(worker: InMemoryWorker, shop: str) -> None:
    worker.use_operator_tenant((await worker.session_of(shop)).tenant)
    await worker.call(TENANT_DISABLE, tenantToken=shop, password=PASSWORD)
    with pytest.raises(BootstrapRefused, match="disabled"):
        await bootstrap(worker)


async def test_password_against_the_policy_is_refused_before_anything_is_written(worker: InMemoryWorker) -> None:
    with pytest.raises(InvalidRequest):
        await bootstrap_with_key(worker, password="iloveyou")
    assert await worker.tenants.find(OPERATORS_TENANT) is None


async def test_first_operator_is_made_again_after_its_tenant_was_deleted(worker: InMemoryWorker) -> None:
    """The way back if all operators lost their passwords. It needs the registration key and the database."""
    first = await bootstrap(worker)
    await worker.call(TENANT_DELETE, email=TENANT_EMAIL, registrationKey=REGISTRATION_KEY)
    second = await bootstrap(worker)
    assert second.tenant == first.tenant
    assert second.id != first.id
