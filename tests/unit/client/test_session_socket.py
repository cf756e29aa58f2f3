"""WebSockets behind `AuthMiddleware`: they close when their session ends."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from shared.asgi.bearer import AsgiScope
from shared.asgi.middleware import AsgiApp, AuthMiddleware
from shared.asgi.session_socket import Receive, Send
from shared.contracts.errors import InvalidTenantToken, InvalidToken
from tests.unit.client.asgi_connection import AsgiConnection
from tests.unit.client.fake_verifier import FakeVerifier

ENDED = {"type": "websocket.close", "code": 1008, "reason": "session ended"}
DISCONNECTED = {"type": "websocket.disconnect", "code": 1008, "reason": "session ended"}


@pytest.fixture
def verifier() -> FakeVerifier:
    verifier = FakeVerifier()
    verifier.open("ann's", login="ann")
    return verifier


class Echo:
    """Sends back each message until the client disconnects; `seen` holds the received messages."""

    def __init__(self, subprotocol: str | None = None) -> None:
        self.seen: list[Any] = []
        self._subprotocol = subprotocol

    async def __call__(self, _scope: AsgiScope, receive: Receive, send: Send) -> None:
        self.seen.append(await receive())
        await send({"type": "websocket.accept", "subprotocol": self._subprotocol})
        while True:
            message = await receive()
            self.seen.append(message)
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": message["text"]})


def connect(app: AsgiApp, verifier: FakeVerifier, subprotocols: Sequence[str] = ()) -> AsgiConnection:
    """Open a WebSocket with Ann's token."""
    authorization = () if subprotocols else ["Bearer ann's"]
    return AsgiConnection(AuthMiddleware(app, verifier), authorization=authorization, subprotocols=subprotocols)


async def test_websocket_carries_messages_until_the_session_ends(verifier: FakeVerifier) -> None:
    """Then the client gets close code 1008, and the application one disconnect message and nothing more."""
    app = Echo()
    async with connect(app, verifier) as connection:
        assert (await connection.sent())["type"] == "websocket.accept"
        for text in ("one", "two"):
            connection.put({"type": "websocket.receive", "text": text})
            assert await connection.sent() == {"type": "websocket.send", "text": text}
        verifier.end("ann's")
        assert await connection.sent() == ENDED
        connection.put({"type": "websocket.receive", "text": "too late"})
    assert app.seen[-1] == DISCONNECTED
    assert len(app.seen) == 4


async def test_client_disconnect_before_the_session_ends_leaves_no_task_running(verifier: FakeVerifier) -> None:
    app = Echo()
    async with connect(app, verifier) as connection:
        await connection.sent()
        connection.put({"type": "websocket.disconnect", "code": 1000})
    assert app.seen[-1] == {"type": "websocket.disconnect", "code": 1000}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_application_that_only_sends_gets_an_os_error_when_the_session_ends(verifier: FakeVerifier) -> None:
    """The application need not catch it, and a late `websocket.close` is no error."""

    async def ticker(_scope: AsgiScope, _receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await asyncio.sleep(0)
        finally:
            await send({"type": "websocket.close"})

    async with connect(ticker, verifier) as connection:
        assert (await connection.sent())["type"] == "websocket.accept"
        verifier.end("ann's")
        while (message := await connection.sent())["type"] == "websocket.send":
            pass
        assert message == ENDED


async def test_session_that_ends_during_the_handshake_is_closed_after_it(verifier: FakeVerifier) -> None:
    """The application sees the disconnect only after `websocket.accept`."""

    async def slow(_scope: AsgiScope, receive: Receive, send: Send) -> None:
        verifier.end("ann's")
        await asyncio.sleep(0)
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept"})
        assert await receive() == DISCONNECTED

    async with connect(slow, verifier) as connection:
        assert (await connection.sent())["type"] == "websocket.accept"
        assert await connection.sent() == ENDED


async def test_handshake_refused_by_the_application_gets_no_second_close(verifier: FakeVerifier) -> None:

    async def refusing(_scope: AsgiScope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000})

    async with connect(refusing, verifier) as connection:
        assert await connection.sent() == {"type": "websocket.close", "code": 4000}


async def test_cancelled_receive_loses_no_message(verifier: FakeVerifier) -> None:
    """A message that arrives during the cancellation is returned by the next call."""
    waits, has_come = asyncio.Event(), asyncio.Event()

    async def impatient(_scope: AsgiScope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        waiting = asyncio.ensure_future(receive())
        waits.set()
        await has_come.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await send({"type": "websocket.send", "text": (await receive())["text"]})

    async with connect(impatient, verifier) as connection:
        await connection.sent()
        await waits.wait()
        connection.put({"type": "websocket.receive", "text": "kept"})
        has_come.set()
        assert await connection.sent() == {"type": "websocket.send", "text": "kept"}


@pytest.mark.parametrize(
    ("offered", "own", "answered"),
    [
        (["jincor-auth", "jincor-auth.bearer.ann's"], None, "jincor-auth"),
        (["jincor-auth.bearer.ann's", "jincor-auth"], None, "jincor-auth"),
        (["notes.v1", "jincor-auth.bearer.ann's"], "notes.v1", "notes.v1"),
        (["notes.v1", "jincor-auth.bearer.ann's"], None, None),
        (["jincor-auth.bearer.ann's", "jincor-auth"], "jincor-auth.bearer.ann's", "jincor-auth"),
        (["jincor-auth.bearer.ann's"], "jincor-auth.bearer.ann's", None),
    ],
)
async def test_token_in_a_subprotocol_is_answered_with_another_subprotocol(
    verifier: FakeVerifier, offered: Sequence[str], own: str | None, answered: str | None
) -> None:
    """The handshake selects the application's own subprotocol or ours, and never echoes the token."""
    async with connect(Echo(own), verifier, offered) as connection:
        assert await connection.sent() == {"type": "websocket.accept", "subprotocol": answered}
        verifier.end("ann's")
        assert await connection.sent() == ENDED


async def test_websocket_whose_session_cannot_be_watched_is_closed(
    verifier: FakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the failure without the token."""

    class Unwatched(FakeVerifier):
        async def until_ended(self, token: str) -> None:  # noqa: ARG002 - the overridden signature
            raise InvalidTenantToken

    verifier = Unwatched()
    verifier.open("ann's")
    with caplog.at_level(logging.ERROR):
        async with connect(Echo(), verifier) as connection:
            assert (await connection.sent())["type"] == "websocket.accept"
            assert await connection.sent() == ENDED
    assert "cannot be watched" in caplog.text
    assert "ann's" not in caplog.text


@pytest.mark.parametrize("offered", ["jincor-auth.bearer.", "jincor-auth.bearer.stolen", "bearer.ann's"])
async def test_subprotocol_without_a_live_token_is_refused_with_401(verifier: FakeVerifier, offered: str) -> None:
    async with connect(Echo(), verifier, [offered]) as connection:
        start, body = await connection.sent(), await connection.sent()
    assert start["status"] == 401
    assert (InvalidToken.text in str(body)) == offered.endswith("stolen")
