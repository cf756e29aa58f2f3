"""user.create"""

from shared.contracts import user
from shared.contracts.errors import LoginTaken
from shared.contracts.user_create import UserCreateRequest
from worker.operations.access import tenant_of
from worker.operations.identity import new_id
from worker.operations.presenting import public_user
from worker.ports import Call, Ports, User


async def user_create(request: UserCreateRequest, call: Call, ports: Ports) -> user.User:
    """Stores a new user, never over an old one. The same call again answers as it did first."""
    tenant = await tenant_of(request.tenant_token, ports)
    now = ports.clock.now()
    user_id = new_id()
    created = User(
        id=user_id,
        tenant=tenant,
        login=request.login,
        email=request.email,
        sub=request.sub or user_id,
        scope=request.scope,
        password_hash=await ports.hasher.hash(request.password.get_secret_value()),
        registered_at=now,
        last_active_at=now,
        created_by=call.message_id,
    )
    try:
        await ports.users.add(created)
    except LoginTaken:
        created = await _made_by_this_call(created, request, ports)
    return public_user(created)


async def _made_by_this_call(user: User, request: UserCreateRequest, ports: Ports) -> User:
    """The stored user, if an earlier delivery of this very request made it."""
    stored = await ports.users.find(user.tenant, user.login)
    if stored is None or (stored.created_by, stored.email, stored.scope) != (user.created_by, user.email, user.scope):
        raise LoginTaken
    if not await ports.hasher.verify(stored.password_hash, request.password.get_secret_value()):
        raise LoginTaken
    return stored
