"""operator.list"""

import pytest

from shared.contracts.errors import Forbidden
from shared.contracts.operator_list import OPERATOR_LIST
from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission
from tests.unit.worker.in_memory import InMemoryWorker


async def test_list_holds_the_operators_in_order_and_no_other_user(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    await worker.add_operator(office, "ada", frozenset({Permission.USERS_WRITE, Permission.AUDIT_READ}))
    token = await worker.operator_login(office)
    ada, olga = (await worker.call(OPERATOR_LIST, tenantToken=token)).operators
    assert (ada.login, ada.email, ada.permissions) == ("ada", "ada@example.com", ("audit:read", "users:write"))
    assert olga.login == "olga"
    assert set(olga.permissions) == OPERATOR_PERMISSIONS


async def test_list_needs_an_operator_with_operators_write(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    await worker.add_operator(office, "ada", OPERATOR_PERMISSIONS - {Permission.OPERATORS_WRITE})
    for token in (office, await worker.operator_login(office, "ada")):
        with pytest.raises(Forbidden) as refused:
            await worker.call(OPERATOR_LIST, tenantToken=token)
        assert refused.value.details == {"permission": "operators:write"}
