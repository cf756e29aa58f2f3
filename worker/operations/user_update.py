"""user.update"""

from dataclasses import replace

from shared.contracts import user
from shared.contracts.events import RevocationReason
from shared.contracts.user_update import UserUpdateRequest
from worker.operations.access import tenant_of, user_of
from worker.operations.ending import end_all_sessions
from worker.operations.presenting import public_user
from worker.ports import Call, Ports, UserChanges


async def user_update(request: UserUpdateRequest, _: Call, ports: Ports) -> user.User:
    """Writes what the request names. A new password ends all sessions of the user in the same decision."""
    tenant = await tenant_of(request.tenant_token, ports)
    found = await user_of(tenant, request.login, ports)
    fields = request.model_dump(include={"email", "sub", "scope"}, exclude_unset=True, by_alias=False)
    if request.password is None:
        await ports.users.change(found, UserChanges(fields))
    else:
        password_hash = await ports.hasher.hash(request.password.get_secret_value())
        changes = UserChanges(fields, password_hash)
        await end_all_sessions(found, RevocationReason.PASSWORD_CHANGED, ports, changes)
    return public_user(replace(found, **fields))
