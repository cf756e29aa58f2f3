"""Log lines of the edge for a WebSocket handshake, which it answers as an ordinary request."""

import asyncio

import pytest

from tests.unit.edge_process import edge


@pytest.mark.parametrize(("path", "status"), [("/events", 401), ("/docs", 200), ("/nowhere", 404)])
async def test_websocket_handshake_at_the_edge_logs_no_warning(path: str, status: int) -> None:
    async with edge() as running:
        reader, writer = await asyncio.open_connection(running.client.base_url.host, running.client.base_url.port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = await reader.readuntil(b"\r\n")
        writer.close()
        lines = await running.stopped()
    assert int(answer.split()[1]) == status
    assert [line["status"] for line in lines if line["event"] == "request"] == [status]
    loud = [line for line in lines if line["level"] in {"warning", "error", "critical"}]
    assert {line["logger"] for line in loud} <= {"shared.amqp.connection"}  # there is no broker
