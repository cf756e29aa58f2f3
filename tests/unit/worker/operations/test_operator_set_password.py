"""operator.set_password"""

import asyncio
from typing import Any

import pytest

from shared.contracts.errors import (
    AuthError,
    Forbidden,
    InvalidCredentials,
    InvalidRequest,
    InvalidTenantToken,
    InvalidToken,
    Throttled,
)
from shared.contracts.operation import Done
from shared.contracts.operator_logout import OPERATOR_LOGOUT
from shared.contracts.operator_set_password import OPERATOR_SET_PASSWORD
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.tenant_disable import TENANT_DISABLE
from tests.fakes import LIMIT
from tests.requests import NEW_PASSWORD
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker


async def set_password(worker: InMemoryWorker, token: str, message_id: str | None = None, **fields: Any) -> Done:
    wanted = {"currentPassword": PASSWORD, "password": NEW_PASSWORD, **fields}
    return await worker.call(OPERATOR_SET_PASSWORD, message_id, tenantToken=token, **wanted)


async def test_new_password_ends_all_sessions_and_logs_in(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    token, other = [await worker.operator_login(office) for _ in range(2)]
    user = await worker.login(office, "olga")
    await set_password(worker, token)
    for ended in (token, other):
        with pytest.raises(InvalidTenantToken):
            await worker.call(PRINCIPAL_GET, tenantToken=ended)
    with pytest.raises(InvalidToken):
        await worker.verify(office, user)
    assert set(worker.events.reasons.values()) == {"password_changed"}
    with pytest.raises(InvalidCredentials):
        await worker.operator_login(office)
    assert await worker.operator_login(office, password=NEW_PASSWORD)


async def test_wrong_current_password_is_refused_and_throttled_as_at_a_login(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    token = await worker.operator_login(office)
    for _ in range(LIMIT.undelayed):
        with pytest.raises(InvalidCredentials):
            await set_password(worker, token, currentPassword="wrong")
    with pytest.raises(Throttled):
        await set_password(worker, token)
    assert await worker.call(PRINCIPAL_GET, tenantToken=token)


async def test_password_against_the_policy_is_refused(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    token = await worker.operator_login(office)
    with pytest.raises(InvalidRequest, match="common"):
        await set_password(worker, token, password="iloveyou")
    assert await worker.operator_login(office)


async def test_concurrent_deliveries_get_one_result(worker: InMemoryWorker) -> None:
    token = await worker.operator_login(await worker.open_office())
    answers = await asyncio.gather(*(set_password(worker, token, "message") for _ in range(3)))
    assert answers == [Done.now()] * 3
    assert list(worker.events.reasons.values()) == ["password_changed"]


async def test_retry_with_another_password_is_refused(worker: InMemoryWorker) -> None:
    """The token has ended: neither the old password nor a guess of the new one revives it."""
    office = await worker.open_office()
    token = await worker.operator_login(office)
    await set_password(worker, token, "message")
    for fields in ({"password": "yet another password"}, {"currentPassword": NEW_PASSWORD, "password": PASSWORD}):
        with pytest.raises(InvalidTenantToken):
            await set_password(worker, token, "message", **fields)
    assert await worker.operator_login(office, password=NEW_PASSWORD)


@pytest.mark.parametrize("ended", ["logged out", "tenant disabled", "no operators"])
async def test_ended_token_with_the_right_password_is_refused(worker: InMemoryWorker, ended: str) -> None:
    office = await worker.open_office()
    token = await worker.operator_login(office)
    match ended:
        case "logged out":
            await worker.call(OPERATOR_LOGOUT, tenantToken=token)
        case "tenant disabled":
            await worker.call(TENANT_DISABLE, tenantToken=office, password=PASSWORD)
        case "no operators":
            worker.use_operator_tenant(None)
    with pytest.raises(InvalidTenantToken):
        await set_password(worker, token)


async def test_token_of_another_kind_is_refused(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    for token, refusal in ((office, Forbidden), (await worker.login(office, "olga"), InvalidTenantToken)):
        with pytest.raises(refusal):
            await set_password(worker, token)
    assert await worker.operator_login(office)


async def test_wrong_password_is_recorded_in_the_operators_trail(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    token = await worker.operator_login(office)
    worker.audit.records.clear()
    with pytest.raises(AuthError):
        await set_password(worker, token, currentPassword="wrong")
    [record] = worker.audit.records.values()
    assert (record.type, record.outcome, record.login) == ("operator.set_password", "invalid_credentials", "olga")
    assert (record.actor, record.tenant) == ("operator:olga", worker.ports.operator_tenant)
