"""tenant.complete_reset"""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.errors import (
    AuthError,
    InvalidCredentials,
    InvalidRequest,
    InvalidTenantToken,
    Throttled,
)
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.tenant_complete_reset import TENANT_COMPLETE_RESET
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_reset import TENANT_RESET
from shared.contracts.tenant_update import TENANT_UPDATE
from shared.contracts.user import User
from tests.fakes import LIMIT, FakeHasher
from tests.requests import NEW_PASSWORD
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from tests.unit.worker.operators import Operator, operator_on, reset_code

EMAIL = "shop@example.com"


@pytest.fixture
async def operator(worker: InMemoryWorker, shop: str) -> Operator:
    return await operator_on(worker, shop)


async def complete(worker: InMemoryWorker, code: str, message_id: str | None = None, **fields: Any) -> Done:
    wanted = {"email": EMAIL, "code": code, "password": NEW_PASSWORD, **fields}
    return await worker.call(TENANT_COMPLETE_RESET, message_id, **wanted)


async def log_in(worker: InMemoryWorker, password: str = NEW_PASSWORD) -> str:
    return (await worker.call(TENANT_LOGIN, email=EMAIL, password=password)).token


async def test_code_sets_the_password_and_revokes_the_tenants_tokens(
    worker: InMemoryWorker, operator: Operator, shop: str, ann: User
) -> None:
    """Its users stay logged in, as after tenant.update."""
    token = await worker.login(shop)
    assert await complete(worker, await reset_code(worker, operator)) == Done.now()
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=shop)
    assert worker.events.reasons == {(await worker.session_of(shop)).id: RevocationReason.PASSWORD_CHANGED}
    with pytest.raises(InvalidCredentials):
        await log_in(worker, PASSWORD)
    assert (await worker.verify(await log_in(worker), token)).id == ann.id


async def test_used_code_is_refused(worker: InMemoryWorker, operator: Operator) -> None:
    """Also under the message id of its use, if the password differs."""
    code = await reset_code(worker, operator)
    await complete(worker, code, "message")
    assert await complete(worker, code, "message") == Done.now()
    for message_id, password in (("another", NEW_PASSWORD), ("message", "a third fine password")):
        with pytest.raises(InvalidCredentials):
            await complete(worker, code, message_id, password=password)
    assert await log_in(worker)


async def test_one_of_concurrent_uses_of_a_code_sets_the_password(worker: InMemoryWorker, operator: Operator) -> None:
    code = await reset_code(worker, operator)
    passwords = [f"fine password number {number}" for number in range(5)]
    outcomes = await asyncio.gather(
        *(complete(worker, code, password=password) for password in passwords), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes].count(InvalidCredentials) == 4
    winner = passwords[[isinstance(outcome, Done) for outcome in outcomes].index(True)]
    assert await log_in(worker, winner)


async def test_later_code_replaces_an_earlier_one(worker: InMemoryWorker, operator: Operator) -> None:
    first, second = await reset_code(worker, operator), await reset_code(worker, operator)
    with pytest.raises(InvalidCredentials):
        await complete(worker, first)
    assert await complete(worker, second)


async def test_expired_code_is_refused(worker: InMemoryWorker, operator: Operator) -> None:
    first = await reset_code(worker, operator)
    worker.clock.advance(timedelta(hours=1) - timedelta(seconds=1))
    assert await complete(worker, first)
    second = await reset_code(worker, operator)
    worker.clock.advance(timedelta(hours=1))
    with pytest.raises(InvalidCredentials):
        await complete(worker, second)


@pytest.mark.parametrize("change", ["password", "tokens", "disabled"])
async def test_any_change_in_between_voids_the_code(
    worker: InMemoryWorker, operator: Operator, shop: str, change: str
) -> None:
    code = await reset_code(worker, operator)
    password = PASSWORD
    match change:
        case "password":
            password = "a third fine password"
            await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD, password=password)
        case "tokens":
            await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD)
        case "disabled":
            await worker.call(TENANT_DISABLE, **operator.on_shop)
            await worker.call(TENANT_ENABLE, **operator.on_shop)
    with pytest.raises(InvalidCredentials):
        await complete(worker, code)
    assert await log_in(worker, password)


async def test_code_of_another_tenant_is_refused(worker: InMemoryWorker, operator: Operator) -> None:
    await worker.register("bank@example.com")
    code = await reset_code(worker, operator)
    with pytest.raises(InvalidCredentials):
        await complete(worker, code, email="bank@example.com")
    assert await complete(worker, code)


async def test_refused_password_does_not_use_the_code_up(worker: InMemoryWorker, operator: Operator) -> None:
    code = await reset_code(worker, operator)
    with pytest.raises(InvalidRequest, match="password"):
        await complete(worker, code, password=EMAIL)
    assert await complete(worker, code)


async def test_unknown_email_and_wrong_code_are_alike_and_hash_nothing() -> None:
    hasher = FakeHasher()
    worker = InMemoryWorker(hasher=hasher)
    shop = await worker.register()
    await reset_code(worker, await operator_on(worker, shop))
    hasher.work = 0
    answers = []
    for email in (EMAIL, "nobody@example.com"):
        with pytest.raises(AuthError) as refused:
            await complete(worker, "wrong", email=email)
        answers.append((refused.value.code, str(refused.value), refused.value.details))
    assert answers[0] == answers[1]
    assert answers[0][0] == InvalidCredentials.code
    assert hasher.work == 0


async def test_wrong_codes_are_throttled_by_origin_and_lock_nobody_out(
    worker: InMemoryWorker, operator: Operator
) -> None:
    code = await reset_code(worker, operator)
    for email in ("nobody@example.com", EMAIL):
        for _ in range(20):
            with pytest.raises((InvalidCredentials, Throttled)):
                await complete(worker, "wrong", email=email, clientAddress="192.0.2.1")
        with pytest.raises(Throttled):
            await complete(worker, code, email=email, clientAddress="192.0.2.1")
    assert await complete(worker, code, clientAddress="192.0.2.2")


async def test_wrong_code_is_recorded_in_the_trail(worker: InMemoryWorker, operator: Operator) -> None:
    worker.audit.records.clear()
    for email in (EMAIL, "nobody@example.com"):
        with pytest.raises(InvalidCredentials):
            await complete(worker, "wrong", email=email)
    [record] = worker.audit.records.values()
    assert (record.tenant, record.type, record.outcome) == (
        operator.shop,
        "tenant.complete_reset",
        "invalid_credentials",
    )


async def test_new_password_unlocks_the_tenant(worker: InMemoryWorker, operator: Operator) -> None:
    """Wrong passwords do not throttle the use of a code either."""
    for _ in range(LIMIT.undelayed + 2):
        with pytest.raises((InvalidCredentials, Throttled)):
            await log_in(worker, "wrong")
    with pytest.raises(Throttled):
        await log_in(worker, PASSWORD)
    await complete(worker, await reset_code(worker, operator))
    assert await log_in(worker)


async def test_redelivered_reset_leaves_the_code_that_the_caller_got_valid(
    worker: InMemoryWorker, operator: Operator
) -> None:
    """Two workers may answer one request; the caller gets one of the replies."""
    first = (await worker.call(TENANT_RESET, "message", **operator.on_shop)).code
    second = (await worker.call(TENANT_RESET, "message", **operator.on_shop)).code
    assert first != second
    assert await complete(worker, first)
    with pytest.raises(InvalidCredentials):
        await complete(worker, second)
