"""user.delete"""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.user_delete import UserDeleteRequest
from worker.operations.access import tenant_of, user_of
from worker.operations.ending import end_all_sessions
from worker.ports import Call, Ports


async def user_delete(request: UserDeleteRequest, _: Call, ports: Ports) -> Done:
    """Removes the user and ends its sessions: once this has answered, no token of it is accepted."""
    tenant = await tenant_of(request.tenant_token, ports)
    user = await user_of(tenant, request.login, ports)
    await end_all_sessions(user, RevocationReason.USER_DELETED, ports)
    return Done.now()
