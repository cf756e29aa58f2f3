"""Writing audit records: one for each audited request, the same way for every operation.

An operation is audited if its contract says so. It sets the `AuditFacts` of its `Call` as soon as
they are proven. A request that proves no tenant gets no record. The other members come from the
operation, its outcome and its request. Members of a request are copied by name, so a new secret
member never gets into a record.
"""

import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.errors import AuthError, InvalidCredentials, Throttled
from shared.contracts.operation import Operation
from shared.contracts.operator_login import OPERATOR_LOGIN
from shared.contracts.tenant_complete_reset import TENANT_COMPLETE_RESET
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.wire import WireModel
from worker.domain.audit_records import StoredAuditRecord
from worker.domain.call import Call
from worker.domain.identifiers import digest
from worker.domain.ports import Ports

log = logging.getLogger(__name__)

AnyOperation = Operation[Any, Any]
Handler = Callable[[Any, Call, Ports], Awaitable[WireModel]]

#: Logins of a tenant's users, which the tenant's product sends.
USER_LOGINS = (AUTH_LOGIN, OPERATOR_LOGIN)
OK = "ok"
#: The outcome of an attempt on a locked account. Its caller sees only `throttled`.
LOCKED = "locked"


def with_audit_record(operation: AnyOperation, handler: Handler) -> Handler:
    """Return a handler that also writes an audit record, or the handler itself if the operation is not audited."""
    if not operation.audited:
        return handler

    @functools.wraps(handler)
    async def handle(request: Any, call: Call, ports: Ports) -> WireModel:
        try:
            reply = await handler(request, call, ports)
        except (InvalidCredentials, Throttled) as error:
            await _queue_refusal(operation, LOCKED if call.audit_facts.locked else error.code, request, call, ports)
            raise
        await _append(operation, request, call, ports)
        return reply

    return handle


async def _append(operation: AnyOperation, request: Any, call: Call, ports: Ports) -> None:
    """Write the record of a successful request, before its reply is sent.

    If the record cannot be written, that is logged and the request still succeeds. Its change is
    already made, and an outage of the audit trail must not stop logins.
    """
    facts = call.audit_facts
    if facts.tenant is None:
        return
    record = _record(
        operation,
        request,
        call,
        ports,
        outcome=OK,
        tenant=facts.tenant,
        login=facts.login or getattr(request, "login", None),
        session=facts.session or getattr(request, "session_id", None),
        by_operator=facts.by_operator,
        reason=facts.reason,
        changed=facts.changed,
    )
    for each in _in_both_trails(record, facts.operators_tenant):
        # Callers choose message ids, so the id of a record depends on its content as well. Otherwise a
        # reused message id could hide a second change behind the first record.
        same = [each.tenant, each.type, each.login, each.session, each.device_id, each.reason, each.changed]
        # Without null members: older workers, which may handle the same request, do not count these.
        same += [member for member in (each.actor, each.on_tenant) if member]
        try:
            await ports.audit.append(replace(each, id=digest(call.message_id, *same)))
        except AuthError as error:
            log.error("audit record is lost", extra={"operation": operation.name, "outcome": OK, "code": error.code})  # noqa: TRY400


def _in_both_trails(record: StoredAuditRecord, operators_tenant: str | None) -> Sequence[StoredAuditRecord]:
    """Return the record, and for an operator's request on another tenant that of the operators' trail."""
    if operators_tenant in (None, record.tenant):
        return [record]
    return [record, replace(record, tenant=operators_tenant, on_tenant=record.tenant)]


async def _queue_refusal(operation: AnyOperation, outcome: str, request: Any, call: Call, ports: Ports) -> None:
    """Queue the record of a refused attempt.

    Known and unknown accounts cost the same query, and the caller waits for no write, so timing
    reveals nothing.
    """
    try:
        tenant, login = await _account(operation, request, call, ports)
    except AuthError as error:
        log.error("audit record is lost", extra={"operation": operation.name, "outcome": outcome, "code": error.code})  # noqa: TRY400
        return
    if tenant is None:
        return
    record = _record(operation, request, call, ports, outcome=outcome, tenant=tenant, login=login)
    # One record counts all attempts of a minute. Wrong passwords for an account are counted per
    # origin, since there are few. All others are counted together, by nothing that an attacker can
    # vary.
    is_wrong_password = login is not None and outcome == InvalidCredentials.code
    origin = [record.client_address, record.service] if is_wrong_password else None
    # A tenant has a bounded number of keys, so they are counted apart.
    actor = [record.actor] if record.actor else []
    minute = int(record.at.timestamp()) // 60
    for each in _in_both_trails(record, call.audit_facts.operators_tenant):
        id_ = digest(minute, each.tenant, each.type, outcome, login, origin, *actor)
        ports.audit.attempted(replace(each, id=id_))


async def _account(operation: AnyOperation, request: Any, call: Call, ports: Ports) -> tuple[str | None, str | None]:
    """Return the tenant whose audit trail gets the attempt, and the login if the account exists."""
    if operation is TENANT_LOGIN or operation is TENANT_COMPLETE_RESET:
        tenant = await ports.tenants.find_by_email(request.email)
        return (tenant.id, tenant.login) if tenant else (None, None)
    if operation in USER_LOGINS and call.audit_facts.tenant is not None:
        user = await ports.users.find(call.audit_facts.tenant, call.audit_facts.login or request.login)
        return call.audit_facts.tenant, user.login if user else None
    return call.audit_facts.tenant, call.audit_facts.login


def _record(operation: AnyOperation, request: Any, call: Call, ports: Ports, **known: Any) -> StoredAuditRecord:
    """Return a record without an id. The caller sets the id, which depends on the outcome."""
    address = getattr(request, "client_address", None)
    if operation not in USER_LOGINS:  # at a user's login the tenant states the address, in its own audit trail
        address = call.client(address)
    return StoredAuditRecord(
        id="",
        at=ports.clock.now(),
        type=operation.name,
        request_id=call.request_id,
        actor=call.audit_facts.actor,
        device_id=getattr(request, "device_id", None),
        client_address=None if address is None else str(address),
        service=call.service,
        **known,
    )
