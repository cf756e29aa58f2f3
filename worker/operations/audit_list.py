"""The operation `audit.list`."""

import re

from shared.contracts import audit_list as contract, names
from shared.contracts.audit_list import AUDIT_LIST, AuditListReply, AuditListRequest
from shared.contracts.errors import FieldProblem, InvalidRequest
from shared.contracts.user_list import NO_CURSOR
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.records import AuditQuery, StoredAuditRecord
from worker.domain.views import milliseconds

_CURSOR = re.compile(r"[0-9]{15}\.[0-9a-f]{32}")


async def audit_list(request: AuditListRequest, call: Call, ports: Ports) -> AuditListReply:
    """Return one page of audit records, the newest first.

    The cursor is the position of the previous page's last record, so new records do not shift the
    pages.
    """
    tenant = (await principal_of(AUDIT_LIST, request, call, ports)).tenant
    query = AuditQuery(
        tenant=tenant,
        type=request.type,
        # Both spellings of the login, as given and in NFC, so that records of deleted accounts are
        # found too.
        logins=frozenset() if request.login is None else {request.login, names.nfc(request.login)},
        since=request.since,
        until=request.until,
        before=_read_cursor(request.cursor),
    )
    found = await ports.audit.page(query, request.limit + 1)
    page = found[: request.limit]
    return AuditListReply(
        records=tuple(_public(record) for record in page),
        next_cursor=page[-1].position if len(found) > len(page) else NO_CURSOR,
    )


def _public(record: StoredAuditRecord) -> contract.AuditRecord:
    return contract.AuditRecord(
        id=record.id,
        at=milliseconds(record.at),
        type=record.type,
        outcome=record.outcome,
        login=record.login,
        session_id=record.session,
        device_id=record.device_id,
        client_address=record.client_address,
        service=record.service,
        reason=record.reason,
        changed=record.changed,
        by_operator=record.by_operator,
        actor=record.actor,
        on_tenant=record.on_tenant,
        request_id=record.request_id,
        attempts=record.attempts,
    )


def _read_cursor(cursor: str) -> str | None:
    if cursor in ("", NO_CURSOR):
        return None
    if not _CURSOR.fullmatch(cursor):
        problem = FieldProblem(field="cursor", message=f"must be a nextCursor of an earlier page, or {NO_CURSOR}")
        raise InvalidRequest(problems=[problem])
    return cursor
