"""A service's connection to Jincor Auth: named where the application is put together, opened when it starts."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Self

from ..amqp.rpc_client import DEFAULT_TIMEOUT_SECONDS
from ..amqp.topology import RPC_EXCHANGE
from ..client.auth_client import AuthClient
from ..contracts.claims import Claims
from .bearer import TokenVerifier

#: What a token is believed at most without asking; the feed of revocations makes it milliseconds as a rule.
DEFAULT_MAX_AGE_SECONDS = 30.0


class ServiceAuth:
    """An `AuthClient` and its cached verifier for as long as the application runs; an async context manager.

    auth = ServiceAuth("amqp://…", email="shop@example.com", password="…", name="notes")
    app = Starlette(routes=…, lifespan=auth.lifespan, middleware=[Middleware(AuthMiddleware, verifier=auth)])
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        email: str | None = None,
        password: str | None = None,
        tenant_token: str | None = None,
        name: str = "client",
        exchange: str = RPC_EXCHANGE,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        trace_headers: Callable[[], Mapping[str, str]] | None = None,
        max_age_seconds: float = DEFAULT_MAX_AGE_SECONDS,
        verifier: TokenVerifier | None = None,
    ) -> None:
        """As `AuthClient.connect` and `AuthClient.verifier`; a `max_age_seconds` of 0 asks each time.

        `verifier` is used instead of connecting, and left open: a test's own, or one that others use too.
        """

        # No `functools.partial`: its representation would show the password.
        def connect() -> contextlib.AbstractAsyncContextManager[AuthClient]:
            return AuthClient.connect(
                url,
                email=email,
                password=password,
                tenant_token=tenant_token,
                name=name,
                exchange=exchange,
                timeout_seconds=timeout_seconds,
                trace_headers=trace_headers,
            )

        self._connect = connect
        self._max_age_seconds = max_age_seconds
        self._given_verifier = verifier
        self._verifier = verifier
        self._client: AuthClient | None = None
        self._opened = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._client is not None:
            raise RuntimeError("opened already")
        if self._given_verifier is None:
            client = self._client = await self._opened.enter_async_context(self._connect())
            verifier = client.verifier(max_age_seconds=self._max_age_seconds)
            self._verifier = await self._opened.enter_async_context(verifier)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client, self._verifier = None, self._given_verifier
        await self._opened.aclose()

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """The lifespan of a Starlette or FastAPI application; within one of your own, `async with auth`."""
        async with self:
            yield

    @property
    def client(self) -> AuthClient:
        """For everything but verification: logins, users, sessions. There while the application runs."""
        if self._client is None:
            raise RuntimeError("not connected to Jincor Auth: open it with the application's lifespan")
        return self._client

    async def verify(self, token: str) -> Claims:
        """As `CachedVerifier.verify`."""
        return await self._opened_verifier().verify(token)

    async def until_ended(self, token: str) -> None:
        """As `CachedVerifier.until_ended`."""
        await self._opened_verifier().until_ended(token)

    def forget(self, claims: Claims) -> None:
        """As `CachedVerifier.forget`."""
        self._opened_verifier().forget(claims)

    def _opened_verifier(self) -> TokenVerifier:
        if self._verifier is None:
            raise RuntimeError("not connected to Jincor Auth: open it with the application's lifespan")
        return self._verifier
