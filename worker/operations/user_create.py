"""user.create"""

from shared.contracts import names, user
from shared.contracts.errors import InvalidTenantToken, LoginTaken
from shared.contracts.user_create import USER_CREATE, UserCreateRequest
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.identifiers import new_id
from worker.domain.password_policy import chosen
from worker.domain.ports import Ports
from worker.domain.records import User
from worker.domain.throttling import forget_failures, users_of
from worker.domain.tokens import session_in_turn
from worker.domain.views import public_user


async def user_create(request: UserCreateRequest, call: Call, ports: Ports) -> user.User:
    """Stores a new user, never over an old one. The same call again answers that user, as it is."""
    tenant = call.noted.tenant = (await session_in_turn(request.tenant_token, call, ports)).tenant
    mark = mark_of(USER_CREATE, call, ports, [request.email, request.sub, request.scope])
    password = chosen(request.password, request.login, request.email, ports)
    # The login is in NFC. Accounts from before that was so may have it as other systems spell it.
    other = names.nfd(request.login)
    if other != request.login and await ports.users.spelled(tenant, [other]):
        raise LoginTaken
    user_id = new_id()
    created = User(
        id=user_id,
        tenant=tenant,
        login=request.login,
        email=request.email,
        sub=request.sub or user_id,
        scope=request.scope,
        password_hash=await ports.hasher.hash(password),
        registered_at=mark.at,
        last_active_at=mark.at,
        created_by=mark.by,
    )
    stored = await ports.users.add(created)
    # The tenant may have been deleted meanwhile: then its deletion finds the user just stored, or this look sees it.
    if await ports.tenants.find(tenant) is None:
        await ports.users.remove_all(tenant)
        raise InvalidTenantToken
    superseded = stored.generation > created.generation
    # Another hash: an earlier delivery of this request stored it. Or this is not that request: marks hold no password.
    same = stored.password_hash == created.password_hash
    if not (superseded or same or await ports.hasher.verify(stored.password_hash, password)):
        raise LoginTaken
    await forget_failures(users_of(tenant), request.login, ports)
    return public_user(stored)
