"""`python -m dev demo`: create, log in, verify, log out and delete a user; prints and checks each response."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aio_pika
import httpx
from aio_pika.abc import AbstractIncomingMessage

from dev.processes import StackError
from dev.run_directory import RunDirectory, StackState

#: An event arrives within milliseconds; this limits the wait if none does.
EVENT_TIMEOUT_SECONDS: Final = 5
LONGEST_SHOWN_CHARS: Final = 40

Events = asyncio.Queue[AbstractIncomingMessage]

LOGIN: Final = {"login": "ann", "password": "correct horse battery", "deviceId": "laptop"}


async def demo(directory: Path) -> None:
    """Run the demo. Raises `StackError` at the first unexpected response, or if no stack is running."""
    state = RunDirectory(directory).read_state()
    if state is None:
        raise StackError(f"no stack is running in {directory}; start one with `make run` in another terminal")
    try:
        # A proxy from the environment cannot reach this machine's loopback address.
        async with httpx.AsyncClient(base_url=state.url, trust_env=False) as http:
            await _tour(Edge(http), state)
    except (httpx.TransportError, aio_pika.exceptions.AMQPConnectionError) as error:
        raise StackError(f"the stack of {directory} does not answer: {error}") from error


class Edge:
    """Client of the REST API that prints each request and response. Tokens and other long texts are shortened."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        status: int = 200,
        bearer: str | None = None,
    ) -> dict[str, Any]:
        """Send a request and return the response body. Raises `StackError` if the status is another one."""
        print(f"{method} {path} {_shown(body) if body else ''}".rstrip())
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        response = await self._http.request(method, path, json=body, headers=headers)
        answer: dict[str, Any] = response.json()
        print(f"  {response.status_code} {_shown(answer)}\n")
        _expect(response.status_code == status, f"{method} {path}: expected status {status}")
        return answer


async def _tour(edge: Edge, state: StackState) -> None:
    password = {"password": LOGIN["password"]}
    tenant = await edge.send("POST", "/tenant", {"email": f"demo+{secrets.token_hex(4)}@example.com", **password})
    bearer = tenant["token"]

    async with _revocations(state, tenant["id"]) as events:
        user = {"email": "ann@example.com", "login": LOGIN["login"], **password, "sub": "42", "scope": "orders:read"}
        created = await edge.send("POST", "/user", user, bearer=bearer)
        _expect("password" not in created, "POST /user: the response must not hold the password")

        token = (await edge.send("POST", "/auth", LOGIN, bearer=bearer))["accessToken"]
        claims = (await edge.send("POST", "/auth/verify", {"token": token}, bearer=bearer))["decoded"]
        _expect(claims["login"] == LOGIN["login"], "POST /auth/verify: the claims must name the user")

        done = await edge.send("POST", "/auth/logout", {"token": token}, bearer=bearer)
        _expect(done == {"result": 1}, "POST /auth/logout: expected the result 1")
        await _expect_event(events, "logout", claims["jti"])
        refusal = await edge.send("POST", "/auth/verify", {"token": token}, bearer=bearer, status=400)
        _expect(refusal["code"] == "invalid_token", "POST /auth/verify: expected the code invalid_token after logout")

        token = (await edge.send("POST", "/auth", LOGIN, bearer=bearer))["accessToken"]
        claims = (await edge.send("POST", "/auth/verify", {"token": token}, bearer=bearer))["decoded"]
        await edge.send("DELETE", f"/user/{LOGIN['login']}", bearer=bearer)
        await _expect_event(events, "user_deleted", claims["jti"])
        await edge.send("POST", "/auth/verify", {"token": token}, bearer=bearer, status=400)
    print("All responses as expected: a token is rejected as soon as its session is revoked.")


@asynccontextmanager
async def _revocations(state: StackState, tenant: str) -> AsyncIterator[Events]:
    """Subscribe to the revocations of one tenant with a plain AMQP client."""
    async with await aio_pika.connect(state.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        key = f"session.revoked.{tenant}"
        await queue.bind("events", routing_key=key)
        print(f"Subscribed to {key} on the exchange `events`\n")
        received: Events = asyncio.Queue()
        await queue.consume(received.put, no_ack=True)
        yield received


async def _expect_event(events: Events, reason: str, session: str) -> None:
    """Print the next event. Raises `StackError` unless it is a revocation of this session for this reason."""
    try:
        message = await asyncio.wait_for(events.get(), EVENT_TIMEOUT_SECONDS)
    except TimeoutError:
        raise StackError(f"no event with the reason {reason} arrived within {EVENT_TIMEOUT_SECONDS} s") from None
    event = json.loads(message.body)
    print(f"Event {event['type']} {event['id']}\n  {_shown(event['data'])}\n")
    data = event["data"]
    _expect(
        (data["reason"], data["sessionId"]) == (reason, session),
        f"the event must name this session and the reason {reason}",
    )


def _shown(members: dict[str, Any]) -> str:
    return json.dumps({name: _shortened(value) for name, value in members.items()}, ensure_ascii=False)


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_SHOWN_CHARS:
        return f"{value[:12]}…"
    return value


def _expect(condition: bool, expectation: str) -> None:
    if not condition:
        raise StackError(expectation)
