"""The client of a service: typed calls to Jincor Auth over the broker the service already sits on.

    async with AuthClient.connect("amqp://…", email="shop@example.com", password="…") as auth:
        token = await auth.login("ann", "correct horse battery", device_id="laptop")
        claims = await auth.verify(token)
        await auth.logout(token)

One object for each service. Calls raise the exceptions of `contracts.errors`. Nothing blocks when the broker is away:
what may be repeated is tried again for a moment, then the call fails with `Unavailable`.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from ..amqp.feed import RevocationFeed
from ..amqp.rpc_client import DEFAULT_TIMEOUT_SECONDS, RpcClient
from ..amqp.telemetry import ForwardedHeaders, Tracing
from ..amqp.topology import NAME_PART, RPC_EXCHANGE, subscriber_queue
from ..amqp.verifier import CoalescingVerifier
from ..contracts.address import ClientAddress
from ..contracts.audit_list import AUDIT_LIST, AuditListReply
from ..contracts.auth_login import AUTH_LOGIN
from ..contracts.auth_logout import AUTH_LOGOUT
from ..contracts.auth_verify import VerifyCheck
from ..contracts.claims import Claims
from ..contracts.event_list import EVENT_LIST, EventListReply
from ..contracts.events import SessionRevokedEvent
from ..contracts.token_introspect import TOKEN_INTROSPECT, TokenIntrospectReply
from ..contracts.user_list import DEFAULT_PAGE, NO_CURSOR
from ..contracts.validation import validated
from .accounts import SessionCalls, TenantCalls, UserCalls
from .cached_verifier import CachedVerifier
from .durable_subscription import DurableSubscription
from .revocations import (
    Events,
    Handler,
    LiveRevocations,
    handle_durable,
    identified,
    known,
    read_durable,
)
from .subscription import MakeFeed
from .tenant_session import Calls, TenantSession, retried
from .verify_cache import DEFAULT_MAX_ENTRIES

#: Times that a handler is called with one event before the event is set aside.
DEFAULT_ATTEMPTS = 5
#: With the pauses between them these take some minutes. The broker takes an event back after half an hour.
MAX_ATTEMPTS = 20


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
        exchange: str = RPC_EXCHANGE,
        tracing: Tracing | None = None,
    ) -> None:
        self._session = session
        self._calls = calls
        self._urls = urls
        self._name = name
        self._exchange = exchange
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
        `sub.<name>.`. `exchange` takes its requests and probes where an administrator gave your service one of its
        own. `timeout_seconds` bounds every message and its answer; a call may take a few, to renew the tenant's
        session, say. `trace_headers` answers the `traceparent` of who calls, so that your traces go on at the workers;
        a `tracestate` of at most 512 characters goes with it, and no other header does.
        """
        urls = [url] if isinstance(url, str) else url
        _queue_name_part("name", name)
        # An administrator declares the exchanges; a service's broker user may not.
        tracing = ForwardedHeaders(trace_headers) if trace_headers else None
        async with RpcClient(urls, name, exchange=exchange, declare=False, tracing=tracing) as rpc:
            await rpc.wait_connected()
            calls = Calls(rpc, timeout_seconds)
            secret = SecretStr(password) if password is not None else None
            session = TenantSession(calls, email, secret, tenant_token)
            yield cls(rpc, session, calls, urls, name, exchange=exchange, tracing=tracing)

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
                exchange=self._exchange,
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
    if not NAME_PART.fullmatch(value):
        raise ValueError(f"{argument} must be 1 to 64 letters, digits, `-` or `_`, not {value!r}")
