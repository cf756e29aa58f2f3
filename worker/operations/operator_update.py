"""The operation `operator.update`."""

from dataclasses import replace

from shared.contracts.errors import Forbidden, Unavailable
from shared.contracts.operator_list import Operator
from shared.contracts.operator_update import OPERATOR_UPDATE, OperatorUpdateRequest
from shared.contracts.permissions import Permission
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.identifiers import digest
from worker.domain.operators import check_may_set_permissions, operator_of
from worker.domain.ports import Ports
from worker.domain.principal import Principal, still_holds
from worker.domain.records import StoredUser
from worker.domain.tokens import user_of
from worker.domain.views import public_operator

#: Concurrent changes of one user's permissions that a request gives way to.
MAX_ROUNDS = 5


async def operator_update(request: OperatorUpdateRequest, call: Call, ports: Ports) -> Operator:
    """Set the user's operator permissions. A retry writes nothing, and gets the user as it is now.

    One operator always keeps `operators:write`. If two operators take it from each other at the same time, at least
    one of them gets `Forbidden`, and its change is taken back. The change of an operator whose own
    permissions are taken at the same time is taken back, too.
    """
    caller = await operator_of(OPERATOR_UPDATE, request, call, ports)
    tenant = call.audit_facts.tenant = caller.session.tenant
    call.audit_facts.changed = ("permissions",)
    key = idempotency_key_of(OPERATOR_UPDATE, call, ports, sorted(request.permissions))
    login = call.audit_facts.login = await ports.users.spelling(tenant, request.login, key)
    for _ in range(MAX_ROUNDS):
        before = await user_of(tenant, login, ports)
        check_may_set_permissions(caller, before, request.permissions)
        takes = Permission.OPERATORS_WRITE in before.operator_permissions - request.permissions
        if takes:
            await _check_another_is_left(before, ports)
        changed = await ports.users.replace_operator_permissions(before, request.permissions, key)
        if changed is not None:
            break
    else:
        raise Unavailable
    try:
        if takes:
            await _check_another_is_left(before, ports)
        await _check_still_may(caller, before, ports)
    except Forbidden:
        undo = replace(key, value=digest(key.value, "taken back"))
        await ports.users.replace_operator_permissions(changed, before.operator_permissions, undo)
        raise
    return public_operator(changed)


async def _check_another_is_left(user: StoredUser, ports: Ports) -> None:
    """Check that another operator has `operators:write`. Raises `Forbidden`."""
    found = await ports.users.operators(user.tenant, 2, Permission.OPERATORS_WRITE)
    if not any(operator.id != user.id for operator in found):
        raise Forbidden(f"no operator would be left that has {Permission.OPERATORS_WRITE}")


async def _check_still_may(caller: Principal, user: StoredUser, ports: Ports) -> None:
    """Check that the caller still has its permissions, unless it has changed them itself. Raises `Forbidden`.

    If another operator takes them at the same time, either this check sees it, or that operator sees what was just
    stored.
    """
    if user.id != caller.session.user and not await still_holds(caller, ports):
        raise Forbidden("your session or your permissions have ended meanwhile")
