"""The client of a service: typed calls to Jincor Auth over the broker the service already sits on.

    async with AuthClient.connect("amqp://…", email="shop@example.com", password="…") as auth:
        token = await auth.login("ann", "correct horse battery", device_id="laptop")
        claims = await auth.verify(token)
        await auth.logout(token)

One object for each service. Calls raise the exceptions of `contracts.errors`. Nothing blocks when the broker is away:
what may be repeated is tried again for a moment, then the call fails with `Unavailable`.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from .amqp.durable_subscription import DurableSubscription
from .amqp.feed import RevocationFeed
from .amqp.rpc_client import DEFAULT_TIMEOUT_SECONDS, RpcClient
from .amqp.topology import RPC_EXCHANGE, subscriber_queue
from .amqp.verifier import CoalescingVerifier
from .cached_verifier import CachedVerifier
from .contracts.address import ClientAddress
from .contracts.audit_list import AUDIT_LIST, AuditListReply
from .contracts.auth_login import AUTH_LOGIN
from .contracts.auth_logout import AUTH_LOGOUT
from .contracts.auth_verify import VerifyCheck
from .contracts.claims import Claims
from .contracts.event_list import EVENT_LIST, EventListReply
from .contracts.events import SessionRevokedEvent
from .contracts.operation import Done, Operation
from .contracts.session_list import SESSION_LIST, Session
from .contracts.session_revoke import SESSION_REVOKE
from .contracts.session_revoke_all import SESSION_REVOKE_ALL
from .contracts.tenant_delete import TENANT_DELETE
from .contracts.tenant_disable import TENANT_DISABLE
from .contracts.tenant_enable import TENANT_ENABLE
from .contracts.tenant_logout import TENANT_LOGOUT
from .contracts.tenant_register import TENANT_REGISTER, TenantRegisterReply
from .contracts.tenant_update import TENANT_UPDATE
from .contracts.tenant_verify import TENANT_VERIFY
from .contracts.token_introspect import TOKEN_INTROSPECT, TokenIntrospectReply
from .contracts.user import User
from .contracts.user_create import USER_CREATE
from .contracts.user_delete import USER_DELETE
from .contracts.user_list import DEFAULT_PAGE, NO_CURSOR, USER_LIST, UserListReply
from .contracts.user_update import USER_UPDATE
from .contracts.validation import validated
from .revocations import Events, Handler, LiveRevocations, handle_durable, identified, known, read_durable
from .subscription import MakeFeed
from .telemetry import ForwardedHeaders, Tracing
from .tenant_session import Calls, TenantSession, retried
from .verify_cache import DEFAULT_MAX_ENTRIES

#: Times that a handler is called with one event before the event is set aside.
DEFAULT_ATTEMPTS = 5
#: With the pauses between them these take some minutes. The broker takes an event back after half an hour.
MAX_ATTEMPTS = 20
#: Parts of queue names, which permissions of the broker go by: no dot, since dots separate them.
QUEUE_NAME_PART = re.compile(r"[A-Za-z0-9_-]{1,64}")


class TenantCalls:
    """What a tenant does about itself."""

    def __init__(self, calls: Calls, session: TenantSession) -> None:
        self._calls = calls
        self._session = session

    async def register(self, email: str, password: str, *, registration_key: str | None = None) -> TenantRegisterReply:
        """A new tenant. A client without credentials goes on as that tenant; any other stays who it is.

        Raises `RegistrationForbidden`, `EmailTaken`.
        """
        request = validated(TENANT_REGISTER.request, email=email, password=password, registration_key=registration_key)
        reply = await self._calls.call(TENANT_REGISTER, request)
        self._session.begin(email, SecretStr(password), reply.token)
        return reply

    async def verify(self, token: str) -> Claims:
        """The claims of a live tenant token. Raises `InvalidToken`."""
        return (await self._calls.call(TENANT_VERIFY, validated(TENANT_VERIFY.request, token=token))).decoded

    async def logout(self, token: str) -> None:
        """Ends the session of a tenant token. Raises `InvalidToken`."""
        await self._calls.call(TENANT_LOGOUT, validated(TENANT_LOGOUT.request, token=token))

    async def update(self, current_password: str, *, password: str | None = None) -> str:
        """Ends every token of this tenant and answers a new one, with which the client goes on; with `password`, that
        is the tenant's from then on. Raises `InvalidCredentials`."""
        passwords = {"current_password": current_password, **({} if password is None else {"password": password})}
        reply = await self._session.call(TENANT_UPDATE, **passwords)
        self._session.go_on(reply.token, None if password is None else SecretStr(password))
        return reply.token

    async def disable(
        self, password: str | None = None, *, email: str | None = None, registration_key: str | None = None
    ) -> None:
        """Ends every session of a tenant and of its users, and refuses its logins: of this tenant, by its password, or
        of any, by its email and the registration key. Raises `InvalidCredentials`, `TenantNotFound`."""
        await self._decide(TENANT_DISABLE, password, email, registration_key)

    async def enable(self, email: str, *, registration_key: str) -> None:
        """Lets a disabled tenant log in again. Raises `InvalidCredentials`, `TenantNotFound`."""
        request = validated(TENANT_ENABLE.request, email=email, registration_key=registration_key)
        await self._calls.call(TENANT_ENABLE, request)

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
            await self._calls.call(operation, validated(operation.request, **given))


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

    def __init__(
        self,
        rpc: RpcClient,
        session: TenantSession,
        calls: Calls,
        urls: Sequence[str],
        name: str,
        *,
        tracing: Tracing | None = None,
    ) -> None:
        self._session = session
        self._calls = calls
        self._urls = urls
        self._name = name
        self._verifier = CoalescingVerifier(rpc, timeout_seconds=calls.timeout_seconds, tracing=tracing)
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
        name: str = "client",
        exchange: str = RPC_EXCHANGE,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        trace_headers: Callable[[], Mapping[str, str]] | None = None,
    ) -> AsyncIterator["AuthClient"]:
        """A client of the broker at `url`, or of several nodes of it, as the tenant of these credentials.

        With email and password it logs in by itself, also when its session expires; a tenant token alone is used as
        long as it lives. `name` is your service's: the broker's operator sees it, and its queues begin with
        `sub.<name>.`. `exchange` takes its requests where an administrator gave your service one of its own.
        `timeout_seconds` bounds every message and its answer; a call may take a few, to renew the
        tenant's session, say. `trace_headers` answers the `traceparent` of who calls, so that your traces go on at the
        workers.
        """
        urls = [url] if isinstance(url, str) else url
        _queue_name_part("name", name)
        # An administrator declares the exchanges; a service's broker user may not.
        tracing = ForwardedHeaders(trace_headers) if trace_headers else None
        async with RpcClient(urls, name, exchange=exchange, declare=False, tracing=tracing) as rpc:
            await rpc.wait_connected()
            calls = Calls(rpc, timeout_seconds)
            secret = SecretStr(password) if password is not None else None
            yield cls(rpc, TenantSession(calls, email, secret, tenant_token), calls, urls, name, tracing=tracing)

    async def login(
        self, login: str, password: str, *, device_id: str, client_address: str | ClientAddress | None = None
    ) -> str:
        """A user token of a new session. Raises `InvalidCredentials`, `Throttled`.

        `client_address` is the user's, as your service sees it; with it, strangers who guess do not keep the user out.
        """
        where = {} if client_address is None else {"client_address": client_address}
        reply = await self._session.call(AUTH_LOGIN, login=login, password=password, device_id=device_id, **where)
        return reply.access_token

    async def verify(self, token: str) -> Claims:
        """The claims of a live user token, checked now; concurrent calls travel together. Raises `InvalidToken`."""

        async def verify_as(tenant_token: str) -> Claims:
            check = validated(VerifyCheck, tenant_token=tenant_token, token=token)
            return await retried(lambda: self._verifier.verify(check), repeatable=True)

        return await self._session.run(verify_as)

    async def introspect(self, token: str) -> TokenIntrospectReply:
        """What RFC 7662 tells of a user token. One that is not alive, or none at all, is no error but inactive."""
        return await self._session.call(TOKEN_INTROSPECT, token=token)

    async def logout(self, token: str) -> None:
        """Ends the session of a user token: once this returns, nobody accepts it. Raises `InvalidToken`."""
        await self._session.call(AUTH_LOGOUT, token=token)

    async def audit(self, *, cursor: str = NO_CURSOR, limit: int = DEFAULT_PAGE, **wanted: Any) -> AuditListReply:
        """One page of what was done with the tenant's accounts, and tried, the newest first; the next page's cursor is
        in it, `"0"` on the last. `wanted` narrows it: `type`, `login`, `since` and `until` in milliseconds."""
        return await self._session.call(AUDIT_LIST, cursor=cursor, limit=limit, **wanted)

    def verifier(self, *, max_age_seconds: float, max_entries: int = DEFAULT_MAX_ENTRIES) -> CachedVerifier[str]:
        """Verification from memory, on a feed of revocations: an async context manager.

        A token whose session ended is accepted until the event is here, which takes milliseconds, and for
        `max_age_seconds` at the very most. See `cached_verifier`.
        """
        return CachedVerifier(
            self.verify, self._make_feed("verifier"), max_age_seconds=max_age_seconds, max_entries=max_entries
        )

    def revocations(self, *, durable: str | None = None, since: int | None = None) -> Events:
        """The tenant's revocations as they happen, for `async for`; at least once each.

        With `durable`, from a queue of that name that goes on collecting while nobody reads. Readers of one name share
        its events. An event is acknowledged when the next is asked for; break off, and it comes again.

        Without, from now on, and only while this is read. What a lost connection made it miss is asked for.

        `since`, in seconds since the epoch, starts with what was revoked from then on: the `event_timestamp` of the
        last event seen, say.

        Close it when you break off: `async with contextlib.aclosing(auth.revocations()) as events`. A cancelled or
        timed-out `anext` ends it; to wait with a limit, read in a task of its own. Deal with a durable event within
        half an hour, or the broker takes it back and the event comes again. Raises `InvalidCredentials` and
        `InvalidTenantToken`.
        """
        if durable is None:
            live = LiveRevocations(self._make_feed("revocations"), self._list_events, since=since)
            return identified(self._session.tenant, live.read())
        return identified(self._session.tenant, read_durable(self._subscription(durable), self._list_events, since))

    async def on_revocation(self, handler: Handler, *, durable: str, attempts: int = DEFAULT_ATTEMPTS) -> None:
        """Calls the handler with each revocation from a durable queue, until cancelled.

        When it raises it is called again, `attempts` times in all with growing pauses; then the event is put into the
        queue's dead letters: `sub.<name>.<tenant>.<durable>.dead`. All that has to be done within half an hour, or the
        broker takes the event back, and it comes again. Raises `InvalidCredentials` and `InvalidTenantToken`.
        """
        if not 1 <= attempts <= MAX_ATTEMPTS:
            raise ValueError(f"attempts must be 1 to {MAX_ATTEMPTS}")
        subscription = self._subscription(durable)
        await known(self._session.tenant)
        await handle_durable(subscription, handler, attempts)

    def _make_feed(self, purpose: str) -> MakeFeed:
        # No `functools.partial`: its representation would show the broker's address, and the password in it.
        def make_feed(
            *, on_revoked: Callable[[SessionRevokedEvent], None], on_interrupted: Callable[[], None]
        ) -> RevocationFeed:
            return RevocationFeed(
                self._urls,
                f"{self._name} {purpose}",
                on_revoked=on_revoked,
                on_interrupted=on_interrupted,
                subscriber=self._name,
                tenant=self._session.tenant,
            )

        return make_feed

    def _subscription(self, durable: str) -> DurableSubscription:
        _queue_name_part("durable", durable)

        async def queue() -> tuple[str, str]:
            tenant = await self._session.tenant()
            return subscriber_queue(self._name, tenant, durable), tenant

        return DurableSubscription(self._urls, f"{self._name} {durable}", queue=queue)

    async def _list_events(self, since: int, cursor: str) -> EventListReply:
        return await self._session.call(EVENT_LIST, since=since, cursor=cursor)


def _queue_name_part(argument: str, value: str) -> None:
    if not QUEUE_NAME_PART.fullmatch(value):
        raise ValueError(f"{argument} must be 1 to 64 letters, digits, `-` or `_`, not {value!r}")
