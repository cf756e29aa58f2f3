"""The operation `audit.search`."""

import asyncio
from collections.abc import Sequence, Set as AbstractSet

from shared.contracts import names
from shared.contracts.audit_search import (
    AUDIT_SEARCH,
    MAX_TENANTS_SEARCHED,
    AuditSearchReply,
    AuditSearchRequest,
    TenantAuditRecord,
)
from shared.contracts.errors import FieldProblem, InvalidRequest
from shared.contracts.user_list import NO_CURSOR
from worker.domain.audit_records import StoredAuditRecord
from worker.domain.audit_trail import audit_query, public_record
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of

#: Trails read at a time, so that a search leaves connections to other requests.
AT_A_TIME = 8


async def audit_search(request: AuditSearchRequest, call: Call, ports: Ports) -> AuditSearchReply:
    """Return one page of the records of a login in all trails, the newest first.

    The trails are those of the tenants that have the login now, each read by its own index. An index over all trails
    would make every audited request of every tenant write one more entry.
    """
    await principal_of(AUDIT_SEARCH, request, call, ports)
    tenants = await _tenants_with(request.login, ports)
    if len(tenants) > MAX_TENANTS_SEARCHED:
        message = f"must be a login of at most {MAX_TENANTS_SEARCHED} tenants; use audit.list for one of them"
        raise InvalidRequest(problems=[FieldProblem(field="login", message=message)])
    at_a_time = asyncio.Semaphore(AT_A_TIME)

    async def of(tenant: str) -> Sequence[StoredAuditRecord]:
        async with at_a_time:
            return await ports.audit.page(audit_query(request, tenant), request.limit + 1)

    found = [record for records in await asyncio.gather(*map(of, sorted(tenants))) for record in records]
    page = sorted(found, key=lambda record: record.position, reverse=True)[: request.limit]
    return AuditSearchReply(
        records=tuple(_public(record) for record in page),
        next_cursor=page[-1].position if len(found) > len(page) else NO_CURSOR,
    )


async def _tenants_with(login: str, ports: Ports) -> AbstractSet[str]:
    if login.startswith(names.RESERVED_PREFIX):
        tenant = await ports.tenants.find_by_email(login.removeprefix(names.RESERVED_PREFIX))
        return {tenant.id} if tenant else set()
    return await ports.users.tenants_of({login, names.nfc(login)}, MAX_TENANTS_SEARCHED + 1)


def _public(record: StoredAuditRecord) -> TenantAuditRecord:
    return TenantAuditRecord(**public_record(record).model_dump(by_alias=False), tenant=record.tenant)
