"""What stands in the audit trail: one record for each decision, written here for every operation.

An operation notes in its `Call` whose doing it is, as soon as that is proven; what it has not proven belongs to
nobody's trail. The rest is known here: the operation, its outcome, and what its request tells. Members of a request
are taken by name, so no secret gets into a record, whatever else requests will hold.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from shared.contracts.audit_list import AuditType
from shared.contracts.errors import AuthError, InvalidCredentials, Throttled
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Operation
from shared.contracts.wire import WireModel
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import AuditRecord

log = logging.getLogger(__name__)

Handler = Callable[[Any, Call, Ports], Awaitable[WireModel]]

OK = "ok"
#: Of an attempt that was throttled since too many before it were wrong in a row: its caller is not told this.
LOCKED = "locked"
#: Members of a user that `user.update` may change: their names are told, their values are not.
CHANGEABLE = ("email", "password", "scope", "sub", "unlock")
#: 128 bits: records of two requests must not be taken for one.
ID_BYTES = 16

#: Why sessions end by an operation that ends some whenever it succeeds.
REASONS = {
    AuditType.TENANT_LOGOUT: RevocationReason.LOGOUT,
    AuditType.TENANT_DISABLE: RevocationReason.TENANT_DISABLED,
    AuditType.TENANT_DELETE: RevocationReason.TENANT_DELETED,
    AuditType.TENANT_UPDATE: RevocationReason.ALL_REVOKED,
    AuditType.USER_DELETE: RevocationReason.USER_DELETED,
    AuditType.AUTH_LOGOUT: RevocationReason.LOGOUT,
    AuditType.SESSION_REVOKE: RevocationReason.REVOKED,
    AuditType.SESSION_REVOKE_ALL: RevocationReason.ALL_REVOKED,
    AuditType.TOKEN_REVOKE: RevocationReason.TOKEN_REVOKED,
}


def audited(operation: Operation[Any, Any], handler: Handler) -> Handler:
    """The handler, with a record of what comes of it, if operations of its kind are recorded at all."""
    if operation.name not in set(AuditType):
        return handler
    kind = AuditType(operation.name)

    @functools.wraps(handler)
    async def handle(request: Any, call: Call, ports: Ports) -> WireModel:
        try:
            reply = await handler(request, call, ports)
        except (InvalidCredentials, Throttled) as error:
            await _note_refusal(kind, LOCKED if call.noted.locked else error.code, request, call, ports)
            raise
        await _append(kind, request, call, ports)
        return reply

    return handle


async def _append(kind: AuditType, request: Any, call: Call, ports: Ports) -> None:
    """Before the answer is given, so that what was answered for is on record. What was done is done, also when the
    record cannot be written: to say otherwise would be wrong, and would make an audit trail a way to stop logins."""
    if call.noted.tenant is None:
        return
    record = _record(
        kind,
        request,
        call,
        ports,
        outcome=OK,
        tenant=call.noted.tenant,
        login=call.noted.login or getattr(request, "login", None),
        session=call.noted.session or getattr(request, "session_id", None),
        by_operator=call.noted.by_operator,
        reason=_reason(kind, request),
        changed=_changed(kind, request),
    )
    # A message id is its sender's choice: only the same again under it is the same record, or one could hide another.
    same = [record.tenant, kind, record.login, record.session, record.device_id, record.reason, record.changed]
    try:
        await ports.audit.append(replace(record, id=_digest(call.message_id, *same)))
    except AuthError as error:
        log.error("audit record is lost", extra={"operation": kind, "outcome": OK, "code": error.code})  # noqa: TRY400


async def _note_refusal(kind: AuditType, outcome: str, request: Any, call: Call, ports: Ports) -> None:
    """The same question to the database for known and unknown accounts, and no write that the caller waits for."""
    try:
        tenant, login = await _account(kind, request, call, ports)
    except AuthError as error:
        log.error("audit record is lost", extra={"operation": kind, "outcome": outcome, "code": error.code})  # noqa: TRY400
        return
    if tenant is None:
        return
    record = _record(kind, request, call, ports, outcome=outcome, tenant=tenant, login=login)
    # One record stands for all of a minute: wrong passwords for an account by where they come from, since these are
    # few; all others by nothing that a stranger can vary.
    is_wrong = login is not None and outcome == InvalidCredentials.code
    apart = [record.client_address, record.service] if is_wrong else None
    minute = int(record.at.timestamp()) // 60
    ports.audit.attempted(replace(record, id=_digest(minute, tenant, kind, outcome, login, apart)))


async def _account(kind: AuditType, request: Any, call: Call, ports: Ports) -> tuple[str | None, str | None]:
    """Whose attempt it is to know of, and at which account, if there is one."""
    if kind is AuditType.TENANT_LOGIN:
        tenant = await ports.tenants.find_by_email(request.email)
        return (tenant.id, tenant.login) if tenant else (None, None)
    if kind is AuditType.AUTH_LOGIN and call.noted.tenant is not None:
        user = await ports.users.find(call.noted.tenant, call.noted.login or request.login)
        return call.noted.tenant, user.login if user else None
    return call.noted.tenant, call.noted.login


def _record(kind: AuditType, request: Any, call: Call, ports: Ports, **known: Any) -> AuditRecord:
    """Without an id yet: what it stands for depends on its outcome."""
    address = getattr(request, "client_address", None)
    if kind is not AuditType.AUTH_LOGIN:  # a tenant says where its users are, in its own trail
        address = call.client(address)
    return AuditRecord(
        id="",
        at=ports.clock.now(),
        type=kind,
        request_id=call.request_id,
        device_id=getattr(request, "device_id", None),
        client_address=None if address is None else str(address),
        service=call.service,
        **known,
    )


def _changed(kind: AuditType, request: Any) -> tuple[str, ...]:
    if kind is not AuditType.USER_UPDATE:
        return ()
    return tuple(name for name in CHANGEABLE if name in request.model_fields_set)


def _reason(kind: AuditType, request: Any) -> RevocationReason | None:
    if kind in (AuditType.USER_UPDATE, AuditType.TENANT_UPDATE) and request.password is not None:
        return RevocationReason.PASSWORD_CHANGED
    return REASONS.get(kind)


def _digest(*named: Any) -> str:
    return hashlib.blake2b(json.dumps(named).encode(), digest_size=ID_BYTES).hexdigest()
