"""A service's connection to Jincor Auth: configured when the application is built, opened when it
starts."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Self

from ..amqp.rpc_port import DEFAULT_TIMEOUT_SECONDS
from ..amqp.topology import RPC_EXCHANGE
from ..client.auth_client import AuthClient
from ..contracts.claims import Claims
from .bearer import TokenVerifier

#: Maximum age of a cached verification. The feed usually reports a revocation within milliseconds.
DEFAULT_MAX_AGE_SECONDS = 30.0


class ServiceAuth:
    """An `AuthClient` and its cached verifier for the lifetime of an application; an async context
    manager.

        auth = ServiceAuth("amqp://…", api_key="jak_…", name="notes")
        middleware = [Middleware(AuthMiddleware, verifier=auth)]
        app = Starlette(routes=…, lifespan=auth.lifespan, middleware=middleware)
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        email: str | None = None,
        password: str | None = None,
        tenant_token: str | None = None,
        api_key: str | None = None,
        name: str = "client",
        exchange: str = RPC_EXCHANGE,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        trace_headers: Callable[[], Mapping[str, str]] | None = None,
        max_age_seconds: float = DEFAULT_MAX_AGE_SECONDS,
        verifier: TokenVerifier | None = None,
    ) -> None:
        """Take the arguments of `AuthClient.connect` and `AuthClient.verifier`.

        Missing or wrong credentials fail the start of the application: entering this object raises
        the errors of `AuthClient.connect`.

        With `max_age_seconds=0` each token is verified at a worker. With `verifier`, the object
        uses that one and does not connect; the caller closes it. Use this for a fake in tests or a
        shared verifier.
        """

        # No `functools.partial`: its `repr` would show the credentials.
        def connect() -> contextlib.AbstractAsyncContextManager[AuthClient]:
            return AuthClient.connect(
                url,
                email=email,
                password=password,
                tenant_token=tenant_token,
                api_key=api_key,
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
            raise RuntimeError("connection to Jincor Auth is already open")
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
        """The lifespan of a Starlette or FastAPI application. In your own lifespan, use `async with
        auth`."""
        async with self:
            yield

    @property
    def client(self) -> AuthClient:
        """The client for logins, users and sessions. Raises `RuntimeError` unless the connection is
        open."""
        if self._client is None:
            raise RuntimeError("not connected to Jincor Auth: open it with the application's lifespan")
        return self._client

    async def verify(self, token: str) -> Claims:
        """Verify a token; see `CachedVerifier.verify`."""
        return await self._opened_verifier().verify(token)

    async def until_ended(self, token: str) -> None:
        """Wait for the end of a session; see `CachedVerifier.until_ended`."""
        await self._opened_verifier().until_ended(token)

    def forget(self, claims: Claims) -> None:
        """Treat a session as revoked; see `CachedVerifier.forget`."""
        self._opened_verifier().forget(claims)

    def _opened_verifier(self) -> TokenVerifier:
        if self._verifier is None:
            raise RuntimeError("not connected to Jincor Auth: open it with the application's lifespan")
        return self._verifier
