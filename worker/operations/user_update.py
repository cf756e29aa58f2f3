"""user.update"""

from shared.contracts import user
from shared.contracts.errors import BadRequest, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.user_update import USER_UPDATE, UserUpdateRequest
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.password_policy import chosen
from worker.domain.ports import Ports
from worker.domain.records import User, UserChanges
from worker.domain.session_revocation import end_all_sessions
from worker.domain.throttling import forget_failures, users_of
from worker.domain.tokens import session_in_turn, tenant_of, user_of
from worker.domain.views import public_user


async def user_update(request: UserUpdateRequest, call: Call, ports: Ports) -> user.User:
    """Writes what the request names. A new password ends all sessions of the user in the same decision.

    A new password, or `unlock`, lets strangers try passwords again, as few as at first. The same call again writes
    nothing, and answers the user as it is: what others wrote since stays.
    """
    if request.password is None:
        tenant = await tenant_of(request.tenant_token, ports)
    else:
        tenant = (await session_in_turn(request.tenant_token, call, ports)).tenant
    call.noted.tenant = tenant
    updated = await _updated(request, tenant, call, ports)
    if request.unlock or request.password is not None:
        await forget_failures(users_of(tenant), updated.login, ports)
    return public_user(updated)


async def _updated(request: UserUpdateRequest, tenant: str, call: Call, ports: Ports) -> User:
    """The user as it is then. Raises `UserNotFound`."""
    fields = request.model_dump(include={"email", "sub", "scope"}, exclude_unset=True, by_alias=False)
    mark = mark_of(USER_UPDATE, call, ports, [fields, request.password is not None])
    login = call.noted.login = await ports.users.spelling(tenant, request.login, mark)
    if request.password is None and not fields:
        return await user_of(tenant, login, ports)
    if request.password is None:
        return await ports.users.change(tenant, login, UserChanges(fields), mark)

    before = await user_of(tenant, login, ports)  # nothing is hashed for nobody
    password = chosen(request.password, login, request.email or before.email, ports)
    changes = UserChanges(fields, await ports.hasher.hash(password))
    ending = await end_all_sessions(tenant, login, RevocationReason.PASSWORD_CHANGED, mark, ports, changes=changes)
    changed = await user_of(tenant, login, ports)
    if changed.id != ending.user:  # another user, who has the login of one that was changed and deleted since
        raise UserNotFound
    superseded = changed.generation > ending.generation
    # Another hash: an earlier delivery of this request stored it. Or this is not that request: marks hold no password.
    same = changed.password_hash == changes.password_hash
    if not (superseded or same or await ports.hasher.verify(changed.password_hash, password)):
        raise BadRequest("message_id names another request")
    return changed
