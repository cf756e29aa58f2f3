"""The client for services: typed calls to Jincor Auth over RabbitMQ.

    async with AuthClient.connect("amqp://…", email="shop@example.com", password="…") as auth:
        token = await auth.login("ann", "correct horse battery", device_id="laptop")
        claims = await auth.verify(token)
        await auth.logout(token)

A service needs one client object. Calls raise the exceptions of `contracts.errors`. Every call may
raise `ServiceCredentialsRejected`, for example after the tenant's password has changed. Without a
broker, a repeatable call retries for less than a second and then raises `Unavailable`; it does not
hang.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from pydantic import SecretStr

from ..amqp.feed import RevocationFeed
from ..amqp.rpc_client import RpcClient
from ..amqp.rpc_port import DEFAULT_TIMEOUT_SECONDS, Rpc
from ..amqp.telemetry import ForwardedHeaders, Tracing
from ..amqp.topology import NAME_PART, RPC_EXCHANGE, subscriber_queue
from ..amqp.verification_batcher import VerificationBatcher
from ..contracts.audit_list import AUDIT_LIST, RECORDS_PER_PAGE, AuditListReply, AuditType
from ..contracts.auth_login import AUTH_LOGIN
from ..contracts.auth_logout import AUTH_LOGOUT
from ..contracts.auth_verify import VerifyCheck
from ..contracts.claims import Claims
from ..contracts.event_list import EVENT_LIST, MAX_SINCE, EventListReply
from ..contracts.events import SessionRevokedEvent
from ..contracts.principal_get import PRINCIPAL_GET, PrincipalGetReply
from ..contracts.token_introspect import TOKEN_INTROSPECT, TokenIntrospectReply
from ..contracts.user_list import NO_CURSOR
from ..contracts.validation import validated
from .accounts import ApiKeys, TenantAccount, UserAccounts, UserSessions, given
from .cached_verifier import CachedVerifier
from .claims_cache import DEFAULT_MAX_ENTRIES
from .credential_watch import CredentialWatch, while_accepted
from .durable_subscription import DurableSubscription
from .feed_port import FeedFactory
from .retries import RetryingRpcClient, with_retries
from .revocations import (
    EventHandler,
    EventStream,
    LiveRevocations,
    handle_durable,
    once_tenant_is_known,
    read_durable,
    wait_for_tenant,
)
from .tenant_session import TenantSession
from .validity import Validity, validity_of

#: Times that a handler is called with one event before the event is dead-lettered.
DEFAULT_ATTEMPTS = 5
#: With the backoff these take some minutes. The broker redelivers an unacknowledged event after
#: half an hour.
MAX_ATTEMPTS = 20


class AuthClient:
    """A client of Jincor Auth that acts as one tenant. Create it with `connect`."""

    tenant: TenantAccount
    """Calls about the tenant itself."""
    users: UserAccounts
    """Calls about the tenant's users."""
    sessions: UserSessions
    """Calls about the sessions of the tenant's users."""
    keys: ApiKeys
    """Calls about the tenant's API keys."""

    def __init__(
        self,
        rpc: Rpc,
        session: TenantSession,
        retrying_rpc: RetryingRpcClient,
        urls: Sequence[str],
        name: str,
        *,
        exchange: str = RPC_EXCHANGE,
        tracing: Tracing | None = None,
    ) -> None:
        self._session = session
        self._urls = urls
        self._name = name
        self._exchange = exchange
        self._timeout_seconds = retrying_rpc.timeout_seconds
        self._verifier = VerificationBatcher(rpc, timeout_seconds=retrying_rpc.timeout_seconds, tracing=tracing)
        self.tenant = TenantAccount(retrying_rpc, session)
        self.users = UserAccounts(session)
        self.sessions = UserSessions(session)
        self.keys = ApiKeys(session)

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls,
        url: str | Sequence[str],
        *,
        email: str | None = None,
        password: str | None = None,
        tenant_token: str | None = None,
        api_key: str | None = None,
        anonymous: bool = False,
        name: str = "client",
        exchange: str = RPC_EXCHANGE,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        trace_headers: Callable[[], Mapping[str, str]] | None = None,
    ) -> AsyncIterator["AuthClient"]:
        """Connect to the broker and yield a client for the tenant of these credentials.

        - `url`: the broker, or several nodes of it.
        - `email`, `password`: the client logs in by itself, and again when its session ends.
        - `tenant_token`: used until it expires or is revoked, if there are no credentials.
        - `api_key`: allows the calls that the key has permissions for, and needs no login. It is the only credential.
        - `anonymous`: connect without credentials, to register a tenant or to use the registration
          key.
        - `name`: the name of your service. It is the connection name at the broker, and the names
          of your queues begin with `sub.<name>.`.
        - `exchange`: takes requests and probes; give it if your service has its own exchange.
        - `timeout_seconds`: limit for one request and its reply. A call may need a few, for example
          to renew the tenant's session.
        - `trace_headers`: returns the trace headers of the current context: `traceparent`, and
          `tracestate` of at most 512 characters. Your traces then continue at the workers.

        Raises `ValueError` for missing credentials or an invalid argument, and
        `ServiceCredentialsRejected` if a worker rejects the credentials. It does not raise if the
        broker or the workers are away.
        """
        urls = [url] if isinstance(url, str) else url
        _queue_name_part("name", name)
        if (email is None and password is None and tenant_token is None and api_key is None) is not anonymous:
            raise ValueError("give either `email` and `password`, `tenant_token`, `api_key`, or `anonymous=True`")
        # An administrator declares the exchanges; a service's broker user may not.
        tracing = ForwardedHeaders(trace_headers) if trace_headers else None
        async with RpcClient(urls, name, exchange=exchange, declare=False, tracing=tracing) as rpc:
            retrying_rpc = RetryingRpcClient(rpc, timeout_seconds)
            session = TenantSession(retrying_rpc, email, _secret(password), tenant_token, api_key=_secret(api_key))
            if await rpc.wait_connected() and not anonymous:
                await session.check()
            yield cls(rpc, session, retrying_rpc, urls, name, exchange=exchange, tracing=tracing)

    async def login(
        self,
        login: str,
        password: str,
        *,
        device_id: str,
        client_address: str | IPv4Address | IPv6Address | None = None,
    ) -> str:
        """Log a user in and return the user token of a new session.

        `client_address` is the user's IP address as your service sees it. With it, an attacker who
        guesses passwords elsewhere does not lock the user out. Raises `InvalidCredentials` or
        `Throttled`.
        """
        where = given(client_address=client_address)
        reply = await self._session.call(AUTH_LOGIN, login=login, password=password, device_id=device_id, **where)
        return reply.access_token

    async def verify(self, token: str) -> Claims:
        """Verify a user token at a worker and return its claims. Raises `InvalidToken`.

        Concurrent calls are sent in batches.
        """
        claims, _ = await self._verified(token)
        return claims

    async def _verified(self, token: str) -> tuple[Claims, Validity | None]:
        async def verify_as(credential: str) -> tuple[Claims, Validity | None]:
            check = validated(VerifyCheck, tenant_token=credential, token=token)
            verified = await with_retries(
                lambda: self._verifier.verified(check), repeatable=True, timeout_seconds=self._timeout_seconds
            )
            return verified.claims, validity_of(credential, verified)

        return await self._session.run(verify_as)

    async def principal(self) -> PrincipalGetReply:
        """Return the tenant, the permissions and the expiry of this client's credential."""
        return await self._session.call(PRINCIPAL_GET)

    async def introspect(self, token: str) -> TokenIntrospectReply:
        """Introspect a user token as in RFC 7662. An invalid token is not an error: it is
        inactive."""
        return await self._session.call(TOKEN_INTROSPECT, token=token)

    async def logout(self, token: str) -> None:
        """Revoke the session of a user token. Raises `InvalidToken`.

        Once this returns, workers reject the token. A cached verifier accepts it until the event
        arrives.
        """
        await self._session.call(AUTH_LOGOUT, token=token)

    async def audit(
        self,
        *,
        type: AuditType | str | None = None,  # noqa: A002 - the name of the filter everywhere
        login: str | None = None,
        since: int | None = None,
        until: int | None = None,
        cursor: str = NO_CURSOR,
        limit: int = RECORDS_PER_PAGE,
    ) -> AuditListReply:
        """Return one page of the tenant's audit records, newest first.

        `type`, `login`, `since` and `until` are filters; the times are in milliseconds since the
        epoch. `next_cursor` of the reply is the cursor of the next page, or `"0"` on the last page.
        """
        wanted = given(type=type, login=login, since=since, until=until)
        return await self._session.call(AUDIT_LIST, cursor=cursor, limit=limit, **wanted)

    def verifier(self, *, max_age_seconds: float, max_entries: int = DEFAULT_MAX_ENTRIES) -> CachedVerifier[str]:
        """Return a verifier with a cache that a feed of revocations keeps valid; an async context
        manager.

        It accepts a token of a revoked session until the event arrives, which takes milliseconds,
        and for `max_age_seconds` at most. See `cached_verifier`.
        """
        return CachedVerifier(
            self._verified, self._make_feed("verifier"), max_age_seconds=max_age_seconds, max_entries=max_entries
        )

    def revocations(self, *, durable: str | None = None, since: int | None = None) -> EventStream:
        """Return the tenant's revocations for `async for`. Delivery is at least once.

        With `durable`, events come from a queue of that name, which collects them also while no
        reader is connected. Readers with the same name share the events. An event is acknowledged
        when the reader requests the next one; otherwise it is redelivered. Handle each event within
        half an hour, or the broker redelivers it.

        Without `durable`, events come from now on, while the iterator is read. After a connection
        loss the client lists the events that it missed.

        `since`, in seconds since the epoch, starts with earlier revocations: for example the
        `event_timestamp` of the last event that your service handled.

        Close the iterator when you stop reading: `async with
        contextlib.aclosing(auth.revocations()) as events`. Cancelling `anext`, also by a timeout,
        ends it. To wait with a timeout, read in a task of its own. Raises
        `ServiceCredentialsRejected`, with an API key also when the key ends, and `Forbidden` for a
        key without the permission `events:read`.
        """
        if durable is None:
            events = LiveRevocations(self._make_feed("revocations"), self._list_events, since=since).read()
        else:
            events = read_durable(self._subscription(durable), self._list_events, since)
        if self._session.has_api_key:
            events = while_accepted(events, CredentialWatch(self._check_events))
        return once_tenant_is_known(self._session.tenant, events)

    async def on_revocation(
        self,
        handler: EventHandler,
        *,
        durable: str,
        attempts: int = DEFAULT_ATTEMPTS,
        on_subscribed: Callable[[], None] | None = None,
    ) -> None:
        """Call the handler with each revocation from a durable queue, until cancelled.

        If the handler raises, it is called again with backoff, up to `attempts` times in total.
        Then the event goes to the dead-letter queue `sub.<name>.<tenant>.<durable>.dead`. All
        attempts must end within half an hour, or the broker redelivers the event: the handler must
        be idempotent. `on_subscribed` is called once, when the queue collects events. Raises
        `ValueError` or `ServiceCredentialsRejected`, with an API key also when the key ends, and
        `Forbidden` for a key without the permission `events:read`.
        """
        if not 1 <= attempts <= MAX_ATTEMPTS:
            raise ValueError(f"attempts must be 1 to {MAX_ATTEMPTS}")
        subscription = self._subscription(durable)
        await wait_for_tenant(self._session.tenant)
        if not self._session.has_api_key:
            await handle_durable(subscription, handler, attempts, on_subscribed)
            return
        watch = CredentialWatch(self._check_events)

        async def handle(event: SessionRevokedEvent) -> None:
            await handler(event)
            watch.saw(event)

        async with watch:
            await watch.until_refused(handle_durable(subscription, handle, attempts, on_subscribed))

    def _make_feed(self, purpose: str) -> FeedFactory:
        # No `functools.partial`: its `repr` would show the broker's address with the password.
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

    async def _check_events(self) -> None:
        """Raise what a worker answers to a request for events, of which it lists none."""
        await self._list_events(MAX_SINCE, NO_CURSOR)

    async def _list_events(self, since: int, cursor: str) -> EventListReply:
        return await self._session.call(EVENT_LIST, since=since, cursor=cursor)


def _secret(text: str | None) -> SecretStr | None:
    return None if text is None else SecretStr(text)


def _queue_name_part(argument: str, value: str) -> None:
    if not NAME_PART.fullmatch(value):
        raise ValueError(f"{argument} must be 1 to 64 letters, digits, `-` or `_`, not {value!r}")
