"""Typed calls of `AuthClient` about accounts: the tenant itself, its users, and where they are logged in."""

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from ..contracts.claims import Claims
from ..contracts.operation import Done, Operation
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
from ..contracts.user_list import DEFAULT_PAGE, NO_CURSOR, USER_LIST, UserListReply
from ..contracts.user_update import USER_UPDATE
from ..contracts.validation import validated
from .tenant_session import RetryingRpcClient, TenantSession


class TenantAccount:
    """What a tenant does about itself."""

    def __init__(self, rpc: RetryingRpcClient, session: TenantSession) -> None:
        self._rpc = rpc
        self._session = session

    async def register(self, email: str, password: str, *, registration_key: str | None = None) -> TenantRegisterReply:
        """A new tenant. A client without credentials goes on as that tenant; any other stays who it is.

        Raises `RegistrationForbidden`, `EmailTaken`.
        """
        request = validated(TENANT_REGISTER.request, email=email, password=password, registration_key=registration_key)
        reply = await self._rpc.call(TENANT_REGISTER, request)
        self._session.begin(email, SecretStr(password), reply.token)
        return reply

    async def verify(self, token: str) -> Claims:
        """The claims of a live tenant token. Raises `InvalidToken`."""
        return (await self._rpc.call(TENANT_VERIFY, validated(TENANT_VERIFY.request, token=token))).decoded

    async def logout(self, token: str) -> None:
        """Ends the session of a tenant token. Raises `InvalidToken`."""
        await self._rpc.call(TENANT_LOGOUT, validated(TENANT_LOGOUT.request, token=token))

    async def update(self, current_password: str, *, password: str | None = None) -> str:
        """Ends every token of this tenant and answers a new one, with which the client goes on; with `password`, that
        is the tenant's from then on. Raises `InvalidCredentials`."""
        passwords = {"current_password": current_password, **({} if password is None else {"password": password})}

        async def update(token: str) -> TenantUpdateReply:
            request = validated(TENANT_UPDATE.request, tenant_token=token, **passwords)
            return await self._rpc.call(TENANT_UPDATE, request)

        reply = await self._session.replace(update, None if password is None else SecretStr(password))
        return reply.token

    async def disable(
        self, password: str | None = None, *, email: str | None = None, registration_key: str | None = None
    ) -> None:
        """Ends every session of a tenant and of its users, and refuses its logins: of this tenant, by its password, or
        of any, by its email and the registration key. Raises `InvalidCredentials`, `TenantNotFound`."""
        await self._decide(TENANT_DISABLE, password, email, registration_key)

    async def enable(self, email: str, *, registration_key: str) -> None:
        """Lets a tenant log in again that was disabled, or locked after too many wrong passwords.

        Raises `InvalidCredentials`, `TenantNotFound`.
        """
        request = validated(TENANT_ENABLE.request, email=email, registration_key=registration_key)
        await self._rpc.call(TENANT_ENABLE, request)

    async def delete(
        self, password: str | None = None, *, email: str | None = None, registration_key: str | None = None
    ) -> None:
        """Removes a tenant with its users and ends every session of them; whose it is, as `disable`."""
        await self._decide(TENANT_DELETE, password, email, registration_key)

    async def _decide(
        self,
        operation: Operation[Any, Done],
        password: str | None,
        email: str | None,
        registration_key: str | None,
    ) -> None:
        named = {"password": password, "email": email, "registration_key": registration_key}
        given = {name: value for name, value in named.items() if value is not None}
        if registration_key is None:
            await self._session.call(operation, **given)
        else:
            await self._rpc.call(operation, validated(operation.request, **given))


class UserAccounts:
    """The tenant's users."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def create(self, login: str, password: str, *, email: str, **attributes: Any) -> User:
        """A new user; attributes are `sub` and `scope`. Raises `LoginTaken`."""
        return await self._session.call(USER_CREATE, login=login, password=password, email=email, **attributes)

    async def list(self, q: str = "", *, cursor: str = NO_CURSOR, limit: int = DEFAULT_PAGE) -> UserListReply:
        """One page of users in order of login; the next page's cursor is in it, `"0"` on the last."""
        return await self._session.call(USER_LIST, q=q, cursor=cursor, limit=limit)

    async def update(self, login: str, **changes: Any) -> User:
        """Changes any of `email`, `password`, `sub`, `scope`. A new password ends all sessions of the user. With
        `unlock=True` strangers may try passwords of the user again, who had to stop after too many wrong ones.

        Raises `UserNotFound`.
        """
        return await self._session.call(USER_UPDATE, login=login, **changes)

    async def delete(self, login: str) -> None:
        """Removes a user and ends all its sessions. Raises `UserNotFound`."""
        await self._session.call(USER_DELETE, login=login)


class UserSessions:
    """Where the tenant's users are logged in."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def list(self, login: str) -> Sequence[Session]:
        """The live sessions of a user, newest first. Raises `UserNotFound`."""
        reply = await self._session.call(SESSION_LIST, login=login)
        return reply.sessions

    async def revoke(self, login: str, session_id: str) -> None:
        """Ends one session. Raises `UserNotFound`, `SessionNotFound`."""
        await self._session.call(SESSION_REVOKE, login=login, session_id=session_id)

    async def revoke_all(self, login: str) -> None:
        """Ends every session of a user. Raises `UserNotFound`."""
        await self._session.call(SESSION_REVOKE_ALL, login=login)
