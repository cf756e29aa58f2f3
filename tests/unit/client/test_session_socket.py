"""WebSockets behind `AuthMiddleware`: they end with their session, whatever the application is doing."""

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
    """Sends back what it receives, until it is told that the client has gone; `seen` is what it received."""

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
    """A WebSocket of Ann's."""
    authorization = () if subprotocols else ["Bearer ann's"]
    return AsgiConnection(AuthMiddleware(app, verifier), authorization=authorization, subprotocols=subprotocols)


async def test_it_carries_messages_until_the_session_ends(verifier: FakeVerifier) -> None:
    """Then the client is closed with 1008, and the application hears that it has gone, and nothing after that."""
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


async def test_a_client_that_goes_first_ends_it_as_ever(verifier: FakeVerifier) -> None:
    """Nothing is left running."""
    app = Echo()
    async with connect(app, verifier) as connection:
        await connection.sent()
        connection.put({"type": "websocket.disconnect", "code": 1000})
    assert app.seen[-1] == {"type": "websocket.disconnect", "code": 1000}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_application_that_only_sends_meets_an_error(verifier: FakeVerifier) -> None:
    """An `OSError`, as of a lost connection; it may let it pass, and closing is no error."""

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


async def test_a_session_that_ends_during_the_handshake_is_closed_right_after_it(verifier: FakeVerifier) -> None:
    """An application need not expect it any earlier."""

    async def slow(_scope: AsgiScope, receive: Receive, send: Send) -> None:
        verifier.end("ann's")
        await asyncio.sleep(0)
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept"})
        assert await receive() == DISCONNECTED

    async with connect(slow, verifier) as connection:
        assert (await connection.sent())["type"] == "websocket.accept"
        assert await connection.sent() == ENDED


async def test_an_application_that_refuses_the_handshake_is_left_alone(verifier: FakeVerifier) -> None:
    """It has nothing that could be closed."""

    async def refusing(_scope: AsgiScope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000})

    async with connect(refusing, verifier) as connection:
        assert await connection.sent() == {"type": "websocket.close", "code": 4000}


async def test_who_gives_up_receiving_loses_no_message(verifier: FakeVerifier) -> None:
    """Not even one that comes at that very moment: the next call gets it."""
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
async def test_a_browser_offers_its_token_as_a_subprotocol(
    verifier: FakeVerifier, offered: Sequence[str], own: str | None, answered: str | None
) -> None:
    """And is answered with another of those it offered: the application's own, or ours; never with the token."""
    async with connect(Echo(own), verifier, offered) as connection:
        assert await connection.sent() == {"type": "websocket.accept", "subprotocol": answered}
        verifier.end("ann's")
        assert await connection.sent() == ENDED


async def test_a_session_that_cannot_be_watched_is_not_let_stay(
    verifier: FakeVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the reason; it is in the log, without the token."""

    class Unwatched(FakeVerifier):
        async def until_ended(self, token: str) -> None:  # noqa: ARG002 - the signature it stands in for
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
async def test_a_subprotocol_without_a_live_token_is_refused(verifier: FakeVerifier, offered: str) -> None:
    """As an Authorization header would be."""
    async with connect(Echo(), verifier, [offered]) as connection:
        start, body = await connection.sent(), await connection.sent()
    assert start["status"] == 401
    assert (InvalidToken.text in str(body)) == offered.endswith("stolen")
