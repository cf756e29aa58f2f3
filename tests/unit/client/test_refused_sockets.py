"""Log lines of uvicorn for a refused WebSocket, on a real socket."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import Depends, FastAPI, WebSocket

from shared.asgi.middleware import AuthMiddleware
from shared.fastapi import FastApiAuth
from tests.unit.client.fake_verifier import FakeVerifier

TIMEOUT_SECONDS = 30
HANDSHAKE = (
    "GET /live HTTP/1.1\r\nHost: service\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{}\r\n"
)
UNFINISHED = "ASGI callable returned without completing handshake."


async def returns_at_once(_scope: Any, _receive: Any, _send: Any) -> None:
    """A faulty application: it neither accepts a WebSocket nor refuses it."""


def behind_middleware(verifier: FakeVerifier) -> Any:
    return AuthMiddleware(returns_at_once, verifier, require="notes:read")


def fastapi_service(verifier: FakeVerifier) -> Any:
    auth = FastApiAuth("amqp://broker.invalid", verifier=verifier)
    app = FastAPI()

    @app.websocket("/live")
    async def live(socket: Annotated[WebSocket, Depends(auth.websocket("notes:read"))]) -> None:
        """Return at once, like `returns_at_once`."""

    return app


@asynccontextmanager
async def port_of(app: Any) -> AsyncIterator[int]:
    """Serve the application with uvicorn's defaults and yield its port."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
        await serving


async def status_of(port: int, token: str | None) -> int:
    """Send a handshake and return the status of the response, at the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE.format(f"Authorization: Bearer {token}\r\n" if token else "").encode())
    response = await reader.read()
    writer.close()
    return int(response.split()[1])


@pytest.mark.parametrize("make", [behind_middleware, fastapi_service])
@pytest.mark.parametrize(("token", "status"), [(None, 401), ("unknown", 401), ("reader", 403)])
async def test_refused_websocket_logs_no_error(
    caplog: pytest.LogCaptureFixture, make: Any, token: str | None, status: int
) -> None:
    caplog.set_level(logging.INFO)
    verifier = FakeVerifier()
    verifier.open("reader", scope="other")
    async with port_of(make(verifier)) as port:
        assert await status_of(port, token) == status
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("make", [behind_middleware, fastapi_service])
async def test_websocket_that_the_application_forgets_to_answer_logs_an_error(
    caplog: pytest.LogCaptureFixture, make: Any
) -> None:
    """Also after a WebSocket was refused."""
    verifier = FakeVerifier()
    verifier.open("reader", scope="notes:read")
    async with port_of(make(verifier)) as port:
        assert await status_of(port, None) == 401
        assert await status_of(port, "reader") == 500
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [UNFINISHED]
