"""user.create"""

import secrets

from shared.contracts import user
from shared.contracts.errors import LoginTaken
from shared.contracts.user_create import UserCreateRequest
from worker.operations.access import tenant_of
from worker.operations.presenting import public_user
from worker.ports import Call, Ports, User

#: Ids are opaque; 120 random bits never meet.
ID_BYTES = 15


async def user_create(request: UserCreateRequest, call: Call, ports: Ports) -> user.User:
    """Stores a new user, never over an old one. The same call again answers as it did first."""
    tenant = await tenant_of(request.tenant_token, ports)
    now = ports.clock.now()
    user_id = secrets.token_urlsafe(ID_BYTES)
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
        stored = await ports.users.find(tenant, request.login)
        if stored is None or stored.created_by != call.message_id:
            raise
        created = stored
    return public_user(created)
