"""The operation `user.delete`."""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.user_delete import USER_DELETE, UserDeleteRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.operators import check_may_delete
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.session_revocation import revoke_all_sessions


async def user_delete(request: UserDeleteRequest, call: Call, ports: Ports) -> Done:
    """Delete the user and revoke its sessions. After the reply no token of the user is accepted.

    A retry gets the first result, and does not delete a later user with the same login.
    """
    principal = await principal_of(USER_DELETE, request, call, ports)
    tenant = call.audit_facts.tenant = principal.tenant
    key = idempotency_key_of(USER_DELETE, call, ports)
    login = call.audit_facts.login = await ports.users.spelling(tenant, request.login, key)
    await check_may_delete(principal, login, ports)
    await revoke_all_sessions(tenant, login, RevocationReason.USER_DELETED, call, ports, key=key)
    return Done.now()
