"""operator.logout"""

import asyncio

import pytest

from shared.contracts.errors import Forbidden, InvalidTenantToken
from shared.contracts.operation import Done
from shared.contracts.operator_logout import OPERATOR_LOGOUT
from shared.contracts.principal_get import PRINCIPAL_GET
from tests.unit.worker.in_memory import InMemoryWorker


async def test_logout_ends_this_session_only(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    token, other = [await worker.operator_login(office) for _ in range(2)]
    assert await worker.call(OPERATOR_LOGOUT, tenantToken=token) == Done.now()
    assert list(worker.events.reasons.values()) == ["logout"]
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=token)
    assert await worker.call(PRINCIPAL_GET, tenantToken=other)


async def test_second_logout_is_refused(worker: InMemoryWorker) -> None:
    """One of several concurrent logouts succeeds."""
    token = await worker.operator_login(await worker.open_office())
    answers = await asyncio.gather(
        *(worker.call(OPERATOR_LOGOUT, tenantToken=token) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Done", *4 * ["InvalidTenantToken"]]


@pytest.mark.parametrize("credential", ["tenant", "user"])
async def test_token_of_another_kind_is_refused_and_stays_valid(worker: InMemoryWorker, credential: str) -> None:
    office = await worker.open_office()
    user = await worker.login(office, "olga")
    with pytest.raises(Forbidden if credential == "tenant" else InvalidTenantToken):
        await worker.call(OPERATOR_LOGOUT, tenantToken=office if credential == "tenant" else user)
    assert await worker.verify(office, user)


async def test_logout_that_names_another_tenant_is_refused(worker: InMemoryWorker, shop: str) -> None:
    token = await worker.operator_login(await worker.open_office())
    with pytest.raises(Forbidden):
        await worker.call(OPERATOR_LOGOUT, tenantToken=token, onTenant=(await worker.session_of(shop)).tenant)
    assert await worker.call(PRINCIPAL_GET, tenantToken=token)
