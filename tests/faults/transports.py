"""The same calls over HTTP and over AMQP: each returns, or raises the `AuthError` that the service answered.

Every other outcome, such as a reset connection, a 500, or a 503 without `Retry-After`, is an
`UncleanAnswer`, which no fault excuses.
"""

import asyncio
import contextlib
import itertools
import ssl
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from api.errors import PROBLEM_TYPE, Problem
from shared.client.auth_client import AuthClient
from shared.contracts.errors import ERRORS, AuthError, ErrorCode

#: Longer than the service takes to refuse a call: a longer wait is a lost call.
PATIENCE_SECONDS = 120
#: Interval of a load balancer's readiness probes.
READINESS_SECONDS = 0.25


class UncleanAnswer(Exception):
    """An outcome that no caller may see."""


class Transport(Protocol):
    """A tenant's operations on its users."""

    name: str

    async def create(self, login: str, password: str) -> None: ...

    async def login(self, login: str, password: str) -> str:
        """Return a token."""

    async def verify(self, token: str) -> None: ...

    async def logout(self, token: str) -> None: ...

    async def revoke(self, login: str, session: str) -> None: ...

    async def revoke_all(self, login: str) -> None: ...

    async def change_password(self, login: str, password: str) -> None: ...

    async def delete(self, login: str) -> None: ...


class Edges:
    """A load balancer that alternates between the edges, keeps its connections, and never retries."""

    def __init__(self, urls: Sequence[str], *, trusted: ssl.SSLContext | None = None) -> None:
        self._urls = urls
        self._trusted = trusted
        self._turns = itertools.cycle(urls)
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._not_ready: set[str] = set()
        self._probing: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Edges":
        for url in self._urls:
            self._clients[url] = httpx.AsyncClient(
                base_url=url, timeout=PATIENCE_SECONDS, trust_env=False, verify=self._trusted or True
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._probing:
            task.cancel()
        await asyncio.gather(*self._probing, return_exceptions=True)
        for client in self._clients.values():
            await client.aclose()

    def follow_readiness(self) -> None:
        """Send no more requests to edges that are not ready."""
        self._probing = [asyncio.create_task(self._probe(url)) for url in self._urls]

    async def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request through the next edge. Raise `UncleanAnswer` without an answer."""
        url = next((url for url in itertools.islice(self._turns, len(self._urls)) if url not in self._not_ready), None)
        try:
            return await self._clients[url or self._urls[0]].request(method, path, **arguments)
        except httpx.TransportError as error:
            raise UncleanAnswer(f"{method} {path}: {type(error).__name__}: {error}") from error

    async def _probe(self, url: str) -> None:
        # On connections of its own, as load balancers do.
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, trust_env=False) as http:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    (self._not_ready.discard if await _says_ready(http) else self._not_ready.add)(url)
                await asyncio.sleep(READINESS_SECONDS)


class OverHttp:
    """A tenant over HTTP."""

    name = "http"

    def __init__(self, edges: Edges, token: str) -> None:
        self.edges = edges
        self.token = token

    @classmethod
    async def register(cls, edges: Edges, password: str) -> tuple["OverHttp", str]:
        """Return a new tenant and its email."""
        email = f"{uuid.uuid4().hex[:12]}@tenant.test"
        response = await edges.send("POST", "/tenant", json={"email": email, "password": password})
        return cls(edges, _answer(response)["token"]), email

    async def create(self, login: str, password: str) -> None:
        await self._call("POST", "/user", {"email": "user@users.test", "login": login, "password": password})

    async def login(self, login: str, password: str) -> str:
        body = {"login": login, "password": password, "deviceId": "http"}
        return str((await self._call("POST", "/auth", body))["accessToken"])

    async def verify(self, token: str) -> None:
        await self._call("POST", "/auth/verify", {"token": token})

    async def logout(self, token: str) -> None:
        await self._call("POST", "/auth/logout", {"token": token})

    async def revoke(self, login: str, session: str) -> None:
        await self._call("DELETE", f"/user/{quote(login)}/sessions/{session}")

    async def revoke_all(self, login: str) -> None:
        await self._call("DELETE", f"/user/{quote(login)}/sessions")

    async def change_password(self, login: str, password: str) -> None:
        await self._call("PATCH", f"/user/{quote(login)}", {"password": password})

    async def delete(self, login: str) -> None:
        await self._call("DELETE", f"/user/{quote(login)}")

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        return _answer(await self.edges.send(method, path, json=body, headers=headers))


class OverAmqp:
    """The same tenant over AMQP."""

    name = "amqp"

    def __init__(self, auth: AuthClient) -> None:
        self._auth = auth

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, amqp_url: str, token: str, timeout_seconds: float) -> AsyncIterator["OverAmqp"]:
        async with AuthClient.connect(amqp_url, tenant_token=token, timeout_seconds=timeout_seconds) as auth:
            yield cls(auth)

    async def create(self, login: str, password: str) -> None:
        await self._auth.users.create(login, password, email="user@users.test")

    async def login(self, login: str, password: str) -> str:
        return await self._auth.login(login, password, device_id="amqp")

    async def verify(self, token: str) -> None:
        await self._auth.verify(token)

    async def logout(self, token: str) -> None:
        await self._auth.logout(token)

    async def revoke(self, login: str, session: str) -> None:
        await self._auth.sessions.revoke(login, session)

    async def revoke_all(self, login: str) -> None:
        await self._auth.sessions.revoke_all(login)

    async def change_password(self, login: str, password: str) -> None:
        await self._auth.users.update(login, password=password)

    async def delete(self, login: str) -> None:
        await self._auth.users.delete(login)


def clean_error(response: httpx.Response) -> AuthError:
    """Return the error of an HTTP response. Raise `UncleanAnswer` if it is undocumented or an internal error."""
    described = f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text[:200]}"
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        raise UncleanAnswer(described) from None
    if response.headers["Content-Type"] != PROBLEM_TYPE or problem.code == ErrorCode.INTERNAL:
        raise UncleanAnswer(described)
    if response.status_code in {503, 504} and not response.headers.get("Retry-After", "").isdecimal():
        raise UncleanAnswer(f"{described}, without Retry-After")
    return ERRORS[ErrorCode(problem.code)]()


async def until_ready(urls: Sequence[str], timeout_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until every edge is ready. Raise `TimeoutError`."""
    async with asyncio.timeout(timeout_seconds):
        for url in urls:
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, trust_env=False) as http:
                while not await _says_ready(http):  # noqa: ASYNC110 (other processes become ready)
                    await asyncio.sleep(0.05)


async def _says_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/health/ready")).is_success
    except httpx.TransportError:
        return False


def _answer(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        raise clean_error(response)
    answer: dict[str, Any] = response.json()
    return answer
