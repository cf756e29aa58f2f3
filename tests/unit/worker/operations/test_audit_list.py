"""audit.list"""

from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.audit_list import AUDIT_LIST, AuditRecord
from shared.contracts.errors import InvalidRequest
from tests.unit.worker.in_memory import InMemoryWorker


async def listed(worker: InMemoryWorker, shop: str, **wanted: Any) -> tuple[AuditRecord, ...]:
    return (await worker.call(AUDIT_LIST, tenantToken=shop, **wanted)).records


@pytest.mark.usefixtures("ann")
async def test_records_of_a_tenant_are_listed_by_page_and_filter(worker: InMemoryWorker, shop: str) -> None:
    """The newest comes first. Another tenant sees only its own records."""
    bank = await worker.register("bank@example.com")
    worker.clock.advance(timedelta(minutes=1))
    now = int(worker.clock.now().timestamp() * 1000)
    await worker.login(shop)
    everything = [each.type for each in await listed(worker, shop)]
    assert (everything[0], set(everything[1:])) == ("auth.login", {"user.create", "tenant.register"})
    assert [each.type for each in await listed(worker, shop, login="ann", since=now)] == ["auth.login"]
    assert [each.type for each in await listed(worker, shop, type="user.create")] == ["user.create"]
    assert len(await listed(worker, shop, until=now)) == 2
    assert [each.login for each in await listed(worker, bank)] == ["tenant:bank@example.com"]
    pages, cursor = [], "0"
    while True:
        page = await worker.call(AUDIT_LIST, tenantToken=shop, cursor=cursor, limit=1)
        pages.append(page.records)
        cursor = page.next_cursor
        if cursor == "0":
            break
    assert [len(page) for page in pages] == [1, 1, 1]
    assert len({page[0].id for page in pages}) == 3


@pytest.mark.parametrize("cursor", ["1", "x" * 48, "000000000000001.zz", "0" * 15 + "." + "0" * 33])
async def test_invalid_cursor_is_refused_by_field(worker: InMemoryWorker, shop: str, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await worker.call(AUDIT_LIST, tenantToken=shop, cursor=cursor)
    assert [problem.field for problem in refusal.value.problems] == ["cursor"]
