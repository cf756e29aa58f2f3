"""Reading the audit trail: the query for a request, and the view of its records."""

import re

from shared.contracts import names
from shared.contracts.audit_list import AuditListQuery, AuditRecord
from shared.contracts.errors import FieldProblem, InvalidRequest
from shared.contracts.user_list import NO_CURSOR
from worker.domain.audit_records import AuditQuery, StoredAuditRecord
from worker.domain.views import milliseconds

_CURSOR = re.compile(r"[0-9]{15}\.[0-9a-f]{32}")


def audit_query(request: AuditListQuery, tenant: str) -> AuditQuery:
    """Return the query for a page of this tenant's records. Raises `InvalidRequest` for a wrong cursor."""
    return AuditQuery(
        tenant=tenant,
        type=request.type,
        # Both spellings of the login, as given and in NFC, so that records of deleted accounts are
        # found too.
        logins=frozenset() if request.login is None else {request.login, names.nfc(request.login)},
        since=request.since,
        until=request.until,
        before=_read_cursor(request.cursor),
    )


def public_record(record: StoredAuditRecord) -> AuditRecord:
    """Return the view of an audit record."""
    return AuditRecord(
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
