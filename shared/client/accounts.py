"""Account calls of `AuthClient`: the tenant itself, its users, their sessions, and its API keys."""

from collections.abc import Collection, Sequence
from enum import Enum
from typing import Any, Final

from pydantic import SecretStr

from ..contracts.claims import Claims
from ..contracts.key import ApiKey, IssuedKey
from ..contracts.key_create import KEY_CREATE
from ..contracts.key_list import KEY_LIST
from ..contracts.key_revoke import KEY_REVOKE
from ..contracts.key_rotate import KEY_ROTATE
from ..contracts.operation import Done, Operation
from ..contracts.permissions import Permission
from ..contracts.session_list import SESSION_LIST, Session
from ..contracts.session_revoke import SESSION_REVOKE
from ..contracts.session_revoke_all import SESSION_REVOKE_ALL
from ..contracts.tenant_delete import TENANT_DELETE
from ..contracts.tenant_disable import TENANT_DISABLE
from ..contracts.tenant_enable import TENANT_ENABLE
from ..contracts.tenant_logout import TENANT_LOGOUT
from ..contracts.tenant_register import TENANT_REGISTER, TenantRegisterReply
from ..contracts.tenant_update import TENANT_UPDATE, TenantUpdateReply
from ..contracts.tenant_verify import TENANT_VERIFY
from ..contracts.user import User
from ..contracts.user_create import USER_CREATE
from ..contracts.user_delete import USER_DELETE
from ..contracts.user_get import USER_GET
from ..contracts.user_list import NO_CURSOR, USER_LIST, USERS_PER_PAGE, UserListReply
from ..contracts.user_update import USER_UPDATE
from ..contracts.validation import validated
from .retries import RetryingRpcClient
from .tenant_session import TenantSession


class Unchanged(Enum):
    """The type of `UNCHANGED`."""

    UNCHANGED = "unchanged"


#: The default of an argument that changes nothing, where `None` is a value of its own.
UNCHANGED: Final = Unchanged.UNCHANGED


class TenantAccount:
    """Calls about the tenant itself: `AuthClient.tenant`."""

    def __init__(self, rpc: RetryingRpcClient, session: TenantSession) -> None:
        self._rpc = rpc
        self._session = session

    async def register(self, email: str, password: str, *, registration_key: str | None = None) -> TenantRegisterReply:
        """Register a new tenant. A client without credentials then acts as that tenant.

        A client with credentials keeps its own tenant. Raises `RegistrationForbidden`, `EmailTaken`
        or `Throttled`.
        """
        request = validated(TENANT_REGISTER.request, email=email, password=password, registration_key=registration_key)
        reply = await self._rpc.call(TENANT_REGISTER, request)
        self._session.begin(email, SecretStr(password), reply.token)
        return reply

    async def verify(self, token: str) -> Claims:
        """Verify a tenant token and return its claims. Raises `InvalidToken`."""
        return (await self._rpc.call(TENANT_VERIFY, validated(TENANT_VERIFY.request, token=token))).decoded

    async def logout(self, token: str) -> None:
        """Revoke the session of a tenant token. Raises `InvalidToken`."""
        await self._rpc.call(TENANT_LOGOUT, validated(TENANT_LOGOUT.request, token=token))

    async def update(self, current_password: str, *, password: str | None = None, revoke_keys: bool = False) -> str:
        """Revoke all tokens of this tenant and return a new one, which the client then uses.

        `password` sets a new password. `revoke_keys=True` also revokes the tenant's API keys, which
        otherwise stay valid. Raises `InvalidCredentials` or `Throttled`.
        """
        changes = given(password=password, revoke_keys=True if revoke_keys else None)

        async def update(token: str) -> TenantUpdateReply:
            request = validated(TENANT_UPDATE.request, tenant_token=token, current_password=current_password, **changes)
            return await self._rpc.call(TENANT_UPDATE, request)

        reply = await self._session.replace(update, None if password is None else SecretStr(password))
        return reply.token

    async def disable(
        self, password: str | None = None, *, email: str | None = None, registration_key: str | None = None
    ) -> None:
        """Revoke all sessions of a tenant and its users, and refuse its login until it is enabled.

        Give `password` for this client's tenant, or `email` and `registration_key` for any tenant.
        Raises `InvalidCredentials`, `TenantNotFound` or `Throttled`.
        """
        await self._decide(TENANT_DISABLE, password, email, registration_key)

    async def enable(self, email: str, *, registration_key: str) -> None:
        """Allow a disabled tenant, or one locked by too many wrong passwords, to log in again.

        Raises `InvalidCredentials`, `TenantNotFound` or `Throttled`.
        """
        request = validated(TENANT_ENABLE.request, email=email, registration_key=registration_key)
        await self._rpc.call(TENANT_ENABLE, request)

    async def delete(
        self, password: str | None = None, *, email: str | None = None, registration_key: str | None = None
    ) -> None:
        """Delete a tenant with its users and all their sessions.

        The arguments and errors are those of `disable`.
        """
        await self._decide(TENANT_DELETE, password, email, registration_key)

    async def _decide(
        self,
        operation: Operation[Any, Done],
        password: str | None,
        email: str | None,
        registration_key: str | None,
    ) -> None:
        proof = given(password=password, email=email, registration_key=registration_key)
        if registration_key is None:
            self._session.check_has_password()
            await self._session.call(operation, **proof)
        else:
            await self._rpc.call(operation, validated(operation.request, **proof))


class UserAccounts:
    """Calls about the tenant's users: `AuthClient.users`."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def create(
        self,
        login: str,
        password: str,
        *,
        email: str,
        scope: str | dict[str, Any] | None = None,
        sub: str | None = None,
    ) -> User:
        """Create a user. `sub` is your own id of the user. Raises `LoginTaken` or `InvalidRequest`."""
        return await self._session.call(USER_CREATE, login=login, password=password, email=email, scope=scope, sub=sub)

    async def get(self, login: str) -> User:
        """Return a user. Raises `UserNotFound`."""
        return await self._session.call(USER_GET, login=login)

    async def list(self, q: str = "", *, cursor: str = NO_CURSOR, limit: int = USERS_PER_PAGE) -> UserListReply:
        """Return one page of users in order of login, filtered by `q`.

        `next_cursor` of the reply is the cursor of the next page, or `"0"` on the last page.
        """
        return await self._session.call(USER_LIST, q=q, cursor=cursor, limit=limit)

    async def update(
        self,
        login: str,
        *,
        email: str | None = None,
        password: str | None = None,
        scope: str | dict[str, Any] | Unchanged | None = UNCHANGED,
        sub: str | None = None,
        unlock: bool = False,
    ) -> User:
        """Change a user and return it. `scope=None` removes the scope.

        A new password revokes all sessions of the user. `unlock=True` removes the lock that too
        many wrong passwords from unknown places have set. Raises `UserNotFound` or
        `InvalidRequest`.
        """
        changes = given(email=email, password=password, sub=sub, unlock=True if unlock else None)
        if not isinstance(scope, Unchanged):
            changes["scope"] = scope
        return await self._session.call(USER_UPDATE, login=login, **changes)

    async def delete(self, login: str) -> None:
        """Delete a user and revoke all its sessions. Raises `UserNotFound`."""
        await self._session.call(USER_DELETE, login=login)


class UserSessions:
    """Calls about the sessions of the tenant's users: `AuthClient.sessions`."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def list(self, login: str) -> Sequence[Session]:
        """Return the live sessions of a user, newest first, 200 at most. Raises `UserNotFound`."""
        reply = await self._session.call(SESSION_LIST, login=login)
        return reply.sessions

    async def revoke(self, login: str, session_id: str) -> None:
        """Revoke one session of a user. Raises `UserNotFound` or `SessionNotFound`."""
        await self._session.call(SESSION_REVOKE, login=login, session_id=session_id)

    async def revoke_all(self, login: str) -> None:
        """Revoke all sessions of a user. Raises `UserNotFound`."""
        await self._session.call(SESSION_REVOKE_ALL, login=login)


class ApiKeys:
    """Calls about the tenant's API keys: `AuthClient.keys`."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def create(
        self,
        name: str,
        permissions: Collection[Permission | str],
        *,
        expires_in_days: int | None = None,
        networks: Sequence[str] = (),
    ) -> IssuedKey:
        """Create an API key. `api_key` of the result is the key itself, which is shown only once.

        `permissions` holds at least one permission, and none that this client lacks. Without
        `expires_in_days` the key is valid for a year. `networks` limits the addresses that it may be
        used from, in CIDR notation; a service on the broker cannot use such a key. Raises `Forbidden`,
        `KeyLimitReached` or `InvalidRequest`.
        """
        options = given(expires_in_days=expires_in_days, networks=tuple(networks) or None)
        return await self._session.call(KEY_CREATE, name=name, permissions=tuple(permissions), **options)

    async def list(self) -> Sequence[ApiKey]:
        """Return the tenant's live API keys, newest first, without their secrets."""
        return (await self._session.call(KEY_LIST)).keys

    async def rotate(self, key_id: str, *, overlap_seconds: int | None = None) -> IssuedKey:
        """Give an API key a new secret, which is valid at once, and return it.

        Older secrets are valid for `overlap_seconds` more, or a day by default. With 0 they end at once. Caches
        may accept them until their maximum age: revoke a key that others know. Raises `KeyNotFound`, `Forbidden`
        or `KeyLimitReached`.
        """
        return await self._session.call(KEY_ROTATE, id=key_id, **given(overlap_seconds=overlap_seconds))

    async def revoke(self, key_id: str) -> None:
        """Revoke an API key and its access tokens. Raises `KeyNotFound` or `Forbidden`."""
        await self._session.call(KEY_REVOKE, id=key_id)


def given(**arguments: object) -> dict[str, Any]:
    """Return the arguments that the caller gave: those that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}
