"""user.delete"""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.user_delete import USER_DELETE, UserDeleteRequest
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.ports import Ports
from worker.domain.session_revocation import end_all_sessions
from worker.domain.tokens import tenant_of


async def user_delete(request: UserDeleteRequest, call: Call, ports: Ports) -> Done:
    """Removes the user and ends its sessions: once this has answered, no token of it is accepted.

    The same call again answers as it did first, and spares a later user of the same login.
    """
    tenant = call.noted.tenant = await tenant_of(request.tenant_token, ports)
    mark = mark_of(USER_DELETE, call, ports)
    login = call.noted.login = await ports.users.spelling(tenant, request.login, mark)
    await end_all_sessions(tenant, login, RevocationReason.USER_DELETED, mark, ports)
    return Done.now()
