"""Operators: users of one tenant that have permissions over this installation, and who may change them.

A caller that can set a user's password or email can log in as the user. So an operator's password and email are as well
protected as its permissions.
"""

from shared.contracts.errors import Forbidden
from shared.contracts.operation import TenantRequest
from shared.contracts.permissions import Permission
from shared.contracts.principal_get import CredentialKind
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import AnyOperation, Principal, Sessions, principal_of
from worker.domain.records import StoredUser

#: Members of `user.update` that help to log in as the user: `unlock` permits further guesses of its password.
LOGIN_MEMBERS = frozenset({"email", "password", "unlock"})


def may_be_operator(user: StoredUser, ports: Ports) -> bool:
    """Return whether the user may log in as an operator."""
    return user.tenant == ports.operator_tenant and bool(user.operator_permissions)


async def operator_of(
    operation: AnyOperation, request: TenantRequest, call: Call, ports: Ports, sessions: Sessions | None = None
) -> Principal:
    """Return the operator that sends the request, as `principal_of`. Raises `Forbidden` for other callers."""
    principal = await principal_of(operation, request, call, ports, sessions)
    check_is_operator(principal)
    if request.on_tenant not in (None, principal.session.tenant):
        raise Forbidden("operators belong to the operators' tenant: name no other tenant")
    return principal


def check_is_operator(principal: Principal) -> None:
    """Raise `Forbidden` unless the caller uses an operator's token."""
    if principal.credential is not CredentialKind.OPERATOR_TOKEN:
        raise Forbidden("only an operator may do this, with the token of `operator.login`")


async def check_may_change_login(principal: Principal, login: str, ports: Ports) -> None:
    """Check that the caller may write `LOGIN_MEMBERS` of the user. Raises `Forbidden`.

    In the operators' tenant only operators may. An unknown login passes elsewhere: the operation reports it.
    """
    user = await ports.users.find(principal.tenant, login)
    if not _is_guarded(principal, user, ports):
        return
    if principal.credential is not CredentialKind.OPERATOR_TOKEN:
        names = ", ".join(sorted(LOGIN_MEMBERS))
        raise Forbidden(f"in the operators' tenant only operators may change a user's {names}")
    if user is None:
        return
    if user.id == principal.session.user:
        raise Forbidden("an operator changes its own password with `operator.set_password`, and no more of its login")
    _check_has_all(principal, user)


async def check_may_delete(principal: Principal, login: str, ports: Ports) -> None:
    """Check that the caller may delete the user. Raises `Forbidden`.

    In the operators' tenant only operators may: others could create the user again, with a password of their own,
    before an operator gives it permissions. No operator deletes itself, so the last one stays. An unknown login passes:
    the operation reports it.
    """
    user = await ports.users.find(principal.tenant, login)
    if user is None or not _is_guarded(principal, user, ports):
        return
    check_is_operator(principal)
    if user.id == principal.session.user:
        raise Forbidden("an operator cannot delete itself: another operator must do it")
    _check_has_all(principal, user)


def check_may_set_permissions(principal: Principal, user: StoredUser, wanted: frozenset[Permission]) -> None:
    """Check that the operator may give the user these permissions in place of those that it has. Raises `Forbidden`."""
    if missing := sorted((user.operator_permissions ^ wanted) - principal.permissions):
        raise Forbidden(f"an operator can give and take only permissions that it has: you lack {', '.join(missing)}")


def _is_guarded(principal: Principal, user: StoredUser | None, ports: Ports) -> bool:
    """Return whether the rules of the operators' tenant hold.

    They hold for an operator also at a worker that does not have the setting yet.
    """
    return principal.tenant == ports.operator_tenant or (user is not None and bool(user.operator_permissions))


def _check_has_all(principal: Principal, user: StoredUser) -> None:
    if missing := sorted(user.operator_permissions - principal.permissions):
        raise Forbidden(f"the user has operator permissions that you lack: {', '.join(missing)}")
