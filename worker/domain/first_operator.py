"""The first operator of an installation. It is made once, while there is none; operators make all others."""

import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from pydantic import SecretStr

from shared.contracts.errors import EmailTaken, LoginTaken
from shared.contracts.permissions import OPERATOR_PERMISSIONS
from worker.domain.identifiers import digest, new_id
from worker.domain.password_policy import accepted_password
from worker.domain.ports import Ports
from worker.domain.records import StoredTenant, StoredUser
from worker.domain.throttling import forget_failures, users_of

#: The id of the operators' tenant that is made here. It is fixed, so that of two commands that run at the same time
#: one makes the tenant. No request can make a tenant of this id.
OPERATORS_TENANT = "operators"


class BootstrapRefused(Exception):
    """The first operator cannot be made. `str()` says why, and what to do."""


async def create_first_operator(
    login: str,
    email: str,
    password: SecretStr,
    tenant_email: str,
    *,
    ports: Ports,
    new_key: Callable[[StoredTenant], AbstractAsyncContextManager[str]],
) -> tuple[StoredUser, str]:
    """Make the operators' tenant unless it exists, and in it an operator with all operator permissions.

    `new_key` makes an API key of the tenant, with which operators log in, and revokes it if its block fails. The
    operator comes last, so a call that crashed can be repeated. One of several concurrent calls succeeds. Returns the
    operator and the key. Raises `BootstrapRefused`, and `InvalidRequest` for a password that the policy refuses.
    """
    text = accepted_password(password, login, email, ports)
    for operator in await ports.users.operators(None, 1):
        raise BootstrapRefused(f"an operator exists: {operator.login} of the tenant {operator.tenant}")
    tenant = await _operators_tenant(tenant_email, ports)
    now = ports.clock.now()
    # The id follows from the tenant, so that a tenant has one first operator, whatever its login.
    user_id = digest("first operator", tenant.id, tenant.idempotency_key)
    operator = StoredUser(
        id=user_id,
        tenant=tenant.id,
        login=login,
        email=email,
        sub=user_id,
        scope=None,
        password_hash=await ports.hasher.hash(text),
        registered_at=now,
        last_active_at=now,
        idempotency_key=new_id(),
        operator_permissions=OPERATOR_PERMISSIONS,
    )
    async with new_key(tenant) as key:
        try:
            await ports.users.add(operator)
        except LoginTaken:
            raise BootstrapRefused(
                "the login is taken, or another run of this command has just made the first operator"
            ) from None
        # If the tenant is deleted meanwhile, either its deletion finds the user just stored, or this
        # check sees it.
        if await ports.tenants.find(tenant.id) is None:
            await ports.users.remove_all(tenant.id)
            raise BootstrapRefused("the operators' tenant was deleted meanwhile")
        await forget_failures(users_of(tenant.id), login, ports)
    return operator, key


async def _operators_tenant(email: str, ports: Ports) -> StoredTenant:
    """Return the operators' tenant. If there is none, make one with a random password that nobody knows."""
    wanted = ports.operator_tenant or OPERATORS_TENANT
    tenant = await ports.tenants.find(wanted)
    if tenant is None:
        tenant = StoredTenant(
            id=wanted,
            email=email,
            password_hash=await ports.hasher.hash(secrets.token_urlsafe(32)),
            registered_at=ports.clock.now(),
            idempotency_key=new_id(),
        )
        try:
            await ports.tenants.add(tenant)
        except EmailTaken:
            tenant = await ports.tenants.find(wanted)  # another run of this command may have made it
    if tenant is None:
        raise BootstrapRefused(
            "another tenant has the email of --tenant-email, or a tenant of this id is being deleted"
        )
    if tenant.disabled:
        raise BootstrapRefused(f"the tenant {tenant.id} is disabled: enable it first")
    return tenant
