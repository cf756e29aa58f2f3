"""The operation `audit.list`."""

from shared.contracts.audit_list import AUDIT_LIST, AuditListReply, AuditListRequest
from shared.contracts.user_list import NO_CURSOR
from worker.domain.audit_trail import audit_query, public_record
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of


async def audit_list(request: AuditListRequest, call: Call, ports: Ports) -> AuditListReply:
    """Return one page of audit records, the newest first.

    The cursor is the position of the previous page's last record, so new records do not shift the
    pages.
    """
    tenant = (await principal_of(AUDIT_LIST, request, call, ports)).tenant
    found = await ports.audit.page(audit_query(request, tenant), request.limit + 1)
    page = found[: request.limit]
    return AuditListReply(
        records=tuple(public_record(record) for record in page),
        next_cursor=page[-1].position if len(found) > len(page) else NO_CURSOR,
    )
