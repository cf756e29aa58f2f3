"""The operation `user.create`."""

from shared.contracts import names, user
from shared.contracts.errors import InvalidTenantToken, LoginTaken
from shared.contracts.user_create import USER_CREATE, UserCreateRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.identifiers import new_id
from worker.domain.password_policy import accepted_password
from worker.domain.ports import Ports
from worker.domain.principal import principal_in_turn
from worker.domain.records import StoredUser
from worker.domain.throttling import forget_failures, users_of
from worker.domain.views import public_user


async def user_create(request: UserCreateRequest, call: Call, ports: Ports) -> user.User:
    """Store a new user. An existing user is never overwritten. A retry gets the user as it is now."""
    tenant = call.audit_facts.tenant = (await principal_in_turn(USER_CREATE, request, call, ports)).tenant
    key = idempotency_key_of(USER_CREATE, call, ports, [request.email, request.sub, request.scope])
    password = accepted_password(request.password, request.login, request.email, ports)
    # New logins are in Unicode form NFC. Accounts created before this rule may have the decomposed
    # spelling.
    other = names.nfd(request.login)
    if other != request.login and await ports.users.spelled(tenant, [other]):
        raise LoginTaken
    user_id = new_id()
    created = StoredUser(
        id=user_id,
        tenant=tenant,
        login=request.login,
        email=request.email,
        sub=request.sub or user_id,
        scope=request.scope,
        password_hash=await ports.hasher.hash(password),
        registered_at=key.at,
        last_active_at=key.at,
        idempotency_key=key.value,
    )
    stored = await ports.users.add(created)
    # If the tenant is deleted meanwhile, either its deletion finds the user just stored, or this
    # check sees it.
    if await ports.tenants.find(tenant) is None:
        await ports.users.remove_all(tenant)
        raise InvalidTenantToken
    superseded = stored.generation > created.generation
    # Another hash: an earlier delivery of this request stored it, or this is another request with
    # the same idempotency key. Keys do not contain passwords, so the password is verified.
    stored_now = stored.password_hash == created.password_hash
    if not (superseded or stored_now or await ports.hasher.verify(stored.password_hash, password)):
        raise LoginTaken
    if not superseded:  # otherwise the request proves nothing about the password, and would allow more guesses of it
        await forget_failures(users_of(tenant), request.login, ports)
    return public_user(stored)
