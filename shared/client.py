"""The client of a service: typed calls to Jincor Auth over the broker the service already sits on.

    async with AuthClient.connect("amqp://…", email="shop@example.com", password="…") as auth:
        token = await auth.login("ann", "correct horse battery", device_id="laptop")
        claims = await auth.verify(token)
        await auth.logout(token)

One object for each service. Calls raise the exceptions of `contracts.errors`. Nothing blocks when the broker is away:
what may be repeated is tried again for a moment, then the call fails with `Unavailable`.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic import SecretStr

from .amqp.rpc_client import DEFAULT_TIMEOUT_SECONDS, RpcClient
from .amqp.verifier import CoalescingVerifier
from .contracts.auth_login import AUTH_LOGIN
from .contracts.auth_logout import AUTH_LOGOUT
from .contracts.auth_verify import VerifyCheck
from .contracts.claims import Claims
from .contracts.session_list import SESSION_LIST, Session
from .contracts.session_revoke import SESSION_REVOKE
from .contracts.session_revoke_all import SESSION_REVOKE_ALL
from .contracts.tenant_logout import TENANT_LOGOUT
from .contracts.tenant_register import TENANT_REGISTER, TenantRegisterReply
from .contracts.tenant_verify import TENANT_VERIFY
from .contracts.user import User
from .contracts.user_create import USER_CREATE
from .contracts.user_delete import USER_DELETE
from .contracts.user_list import DEFAULT_PAGE, NO_CURSOR, USER_LIST, UserListReply
from .contracts.user_update import USER_UPDATE
from .contracts.validation import validated
from .tenant_session import Calls, TenantSession, retried


class TenantCalls:
    """What a tenant does about itself."""

    def __init__(self, calls: Calls, session: TenantSession) -> None:
        self._calls = calls
        self._session = session

    async def register(self, email: str, password: str, *, registration_key: str | None = None) -> TenantRegisterReply:
        """A new tenant; this client goes on as that tenant. Raises `RegistrationForbidden`, `EmailTaken`."""
        request = validated(TENANT_REGISTER.request, email=email, password=password, registration_key=registration_key)
        reply = await self._calls.call(TENANT_REGISTER, request)
        self._session.use(reply.token)
        return reply

    async def verify(self, token: str) -> Claims:
        """The claims of a live tenant token. Raises `InvalidToken`."""
        return (await self._calls.call(TENANT_VERIFY, validated(TENANT_VERIFY.request, token=token))).decoded

    async def logout(self, token: str) -> None:
        """Ends the session of a tenant token. Raises `InvalidToken`."""
        await self._calls.call(TENANT_LOGOUT, validated(TENANT_LOGOUT.request, token=token))


class UserCalls:
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
        """Changes any of `email`, `password`, `sub`, `scope`. A new password ends all sessions of the user.

        Raises `UserNotFound`.
        """
        return await self._session.call(USER_UPDATE, login=login, **changes)

    async def delete(self, login: str) -> None:
        """Removes a user and ends all its sessions. Raises `UserNotFound`."""
        await self._session.call(USER_DELETE, login=login)


class SessionCalls:
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


class AuthClient:
    """Jincor Auth, as one tenant sees it. Made by `connect`."""

    def __init__(self, rpc: RpcClient, session: TenantSession, calls: Calls) -> None:
        self._session = session
        self._calls = calls
        self._verifier = CoalescingVerifier(rpc, timeout_seconds=calls.timeout_seconds)
        self.tenant = TenantCalls(calls, session)
        self.users = UserCalls(session)
        self.sessions = SessionCalls(session)

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls,
        url: str | Sequence[str],
        *,
        email: str | None = None,
        password: str | None = None,
        tenant_token: str | None = None,
        name: str = "jincor-auth client",
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> AsyncIterator["AuthClient"]:
        """A client of the broker at `url`, or of several nodes of it, as the tenant of these credentials.

        With email and password it logs in by itself, also when its session expires; a tenant token alone is used as
        long as it lives. `name` is what the broker's operator sees; `timeout_seconds` bounds every call.
        """
        urls = [url] if isinstance(url, str) else url
        # An administrator declares the exchanges; a service's broker user may not.
        async with RpcClient(urls, name, declare=False) as rpc:
            await rpc.wait_connected()
            calls = Calls(rpc, timeout_seconds)
            secret = SecretStr(password) if password is not None else None
            yield cls(rpc, TenantSession(calls, email, secret, tenant_token), calls)

    async def login(self, login: str, password: str, *, device_id: str) -> str:
        """A user token of a new session. Raises `InvalidCredentials`."""
        reply = await self._session.call(AUTH_LOGIN, login=login, password=password, device_id=device_id)
        return reply.access_token

    async def verify(self, token: str) -> Claims:
        """The claims of a live user token, checked now; concurrent calls travel together. Raises `InvalidToken`."""

        async def verify_as(tenant_token: str) -> Claims:
            check = validated(VerifyCheck, tenant_token=tenant_token, token=token)
            return await retried(lambda: self._verifier.verify(check), repeatable=True)

        return await self._session.run(verify_as)

    async def logout(self, token: str) -> None:
        """Ends the session of a user token: once this returns, nobody accepts it. Raises `InvalidToken`."""
        await self._session.call(AUTH_LOGOUT, token=token)
