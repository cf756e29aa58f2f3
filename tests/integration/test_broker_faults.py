"""Faults of a broker, as the log and the exception of a call describe them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import aio_pika
import pytest
from yarl import URL

from dev.ports import free_port
from shared.amqp.connection import ConnectionLost
from shared.amqp.topology import declare_exchanges
from shared.client.auth_client import AuthClient
from shared.contracts.errors import Unavailable

SECRET = "s3cret-password"
PATIENCE_SECONDS = 30


@contextlib.asynccontextmanager
async def http_server() -> AsyncIterator[int]:
    """The port of a server that answers in HTTP."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def reported_fault(url: URL, caplog: pytest.LogCaptureFixture) -> str:
    """Return the message that the log and the exceptions of a verification and of a call share."""
    address = f"{url.host}:{url.explicit_port or 5672}"
    async with AuthClient.connect(str(url), tenant_token="t") as auth, asyncio.timeout(PATIENCE_SECONDS):
        prefix = f"broker is not usable, trying again: {address}: "
        while not any(message.startswith(prefix) for message in caplog.messages):  # noqa: ASYNC110 (the connection logs it)
            await asyncio.sleep(0.01)
        causes = []
        for call in (auth.verify, auth.introspect):
            with pytest.raises(Unavailable) as failed:
                await call("a.b.c")
            assert type(failed.value.__cause__) is ConnectionLost
            causes.append(str(failed.value.__cause__))
    logged = next(message for message in caplog.messages if message.startswith(prefix))
    assert set(causes) == {f"broker {address}: {logged.removeprefix(prefix)}"}
    assert SECRET not in caplog.text
    assert SECRET not in repr([record.__dict__ for record in caplog.records])
    return logged.removeprefix(prefix)


async def test_wrong_broker_password_is_reported_without_the_password(
    amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = URL(amqp_url).with_password(SECRET)
    assert await reported_fault(url, caplog) == "user name or password is refused"


async def test_wrong_virtual_host_is_reported(amqp_url: str, caplog: pytest.LogCaptureFixture) -> None:
    url = URL(amqp_url).with_path("/nowhere")
    assert (
        await reported_fault(url, caplog)
        == "no such virtual host, or this user may not use it or has no more connections"
    )


async def test_port_of_an_http_server_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async with http_server() as port:
        url = URL(f"amqp://guest:{SECRET}@127.0.0.1:{port}")
        assert (
            await reported_fault(url, caplog)
            == "answer is not AMQP, perhaps the port belongs to another protocol or to TLS"
        )


async def test_unresolvable_host_name_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    url = URL(f"amqp://guest:{SECRET}@broker.invalid")
    assert (await reported_fault(url, caplog)).startswith("host name cannot be resolved")


async def test_port_without_a_listener_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    url = URL(f"amqp://guest:{SECRET}@127.0.0.1:{free_port()}")
    assert await reported_fault(url, caplog) == "connection is refused: nothing listens on this port"


async def test_tls_on_a_plain_port_is_reported(amqp_url: str, caplog: pytest.LogCaptureFixture) -> None:
    url = URL(amqp_url).with_scheme("amqps").with_password(SECRET)
    assert (await reported_fault(url, caplog)).startswith("TLS handshake failed, perhaps the port does not use TLS")


async def test_call_after_a_recovery_does_not_name_the_earlier_fault(
    amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that finds no worker on a connected broker does not name an earlier fault."""
    caplog.set_level(logging.INFO)
    away = f"amqp://guest:guest@127.0.0.1:{free_port()}"
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        await declare_exchanges(channel)
    async with AuthClient.connect([away, amqp_url], tenant_token="t") as auth, asyncio.timeout(PATIENCE_SECONDS):
        while "connected to the broker" not in caplog.messages:  # noqa: ASYNC110 (the connection logs it)
            await asyncio.sleep(0.01)
        with pytest.raises(Unavailable) as failed:
            await auth.verify("a.b.c")
    assert failed.value.__cause__ is None
