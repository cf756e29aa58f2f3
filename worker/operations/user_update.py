"""The operation `user.update`."""

from shared.contracts import user
from shared.contracts.user_update import USER_UPDATE, UserUpdateBody, UserUpdateRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.new_password import store_new_password
from worker.domain.operators import LOGIN_MEMBERS, check_may_change_login
from worker.domain.password_policy import accepted_password
from worker.domain.ports import Ports
from worker.domain.principal import Principal, principal_in_turn, principal_of
from worker.domain.records import StoredUser, UserChanges
from worker.domain.throttling import forget_failures, users_of
from worker.domain.tokens import user_of
from worker.domain.views import public_user


async def user_update(request: UserUpdateRequest, call: Call, ports: Ports) -> user.User:
    """Write the attributes that the request names. A new password also revokes all sessions, in the same decision.

    A new password, or `unlock`, resets the account's count of wrong passwords. A retry writes
    nothing and gets the user as it is now, so later changes of other requests are kept.
    """
    identify = principal_of if request.password is None else principal_in_turn
    principal = await identify(USER_UPDATE, request, call, ports)
    tenant = principal.tenant
    call.audit_facts.tenant = tenant
    call.audit_facts.changed = tuple(sorted(request.model_fields_set & UserUpdateBody.model_fields.keys()))
    updated = await _updated(request, principal, call, ports)
    if request.unlock or request.password is not None:
        await forget_failures(users_of(tenant), updated.login, ports)
    return public_user(updated)


async def _updated(request: UserUpdateRequest, principal: Principal, call: Call, ports: Ports) -> StoredUser:
    """Write the changes and return the user as stored afterwards. Raises `UserNotFound`."""
    tenant = principal.tenant
    fields = request.model_dump(include={"email", "sub", "scope"}, exclude_unset=True, by_alias=False)
    key = idempotency_key_of(USER_UPDATE, call, ports, [fields, request.password is not None])
    login = call.audit_facts.login = await ports.users.spelling(tenant, request.login, key)
    if request.model_fields_set & LOGIN_MEMBERS:
        await check_may_change_login(principal, login, ports)
    if request.password is None and not fields:
        return await user_of(tenant, login, ports)
    if request.password is None:
        return await ports.users.change(tenant, login, UserChanges(fields), key)

    before = await user_of(tenant, login, ports)  # before hashing, so that an unknown login costs no hash
    password = accepted_password(request.password, login, request.email or before.email, ports)
    return await store_new_password(tenant, login, password, call, ports, key=key, fields=fields)
