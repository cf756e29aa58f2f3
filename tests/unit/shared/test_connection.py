"""Lost connections, their errors, and the choice between several nodes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPConnectionError, ChannelInvalidStateError, DeliveryError
from pamqp.commands import Basic

from dev.ports import LOOPBACK, free_port
from shared.amqp.connection import Connection, ConnectionLost, lost_connections
from shared.amqp.rpc_client import RpcClient


@pytest.mark.parametrize(
    "error", [AMQPConnectionError("gone"), ChannelInvalidStateError(), OSError(), RuntimeError("closed"), Exception()]
)
async def test_library_error_becomes_connection_lost_with_its_type(error: Exception) -> None:
    """The text of a library error may be empty, so the type is stated."""
    with pytest.raises(ConnectionLost, match=type(error).__name__), lost_connections():
        raise error


async def test_returned_or_refused_message_is_no_connection_loss() -> None:
    with pytest.raises(DeliveryError), lost_connections():
        raise DeliveryError(None, Basic.Nack(1))


async def test_cancellation_by_a_library_becomes_connection_lost() -> None:
    """The libraries cancel waiting futures of a dying connection; the caller was not cancelled."""
    waiting = asyncio.get_running_loop().create_future()
    waiting.cancel()
    with pytest.raises(ConnectionLost), lost_connections():
        await waiting


async def test_cancellation_by_the_caller_or_a_deadline_stays_a_cancellation() -> None:

    async def wait_for_ever() -> None:
        with lost_connections():
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_for_ever(), 0.001)


@pytest.mark.parametrize("error", [OSError("refused"), DeliveryError(None, Basic.Nack(1))])
async def test_cancellation_swallowed_by_a_library_is_raised_all_the_same(error: Exception) -> None:
    """Otherwise a task cancelled during a failing connect would reconnect for ever."""

    async def connect() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise error from None

    async def stay_connected() -> None:
        while True:
            with contextlib.suppress(ConnectionLost, DeliveryError), lost_connections():
                await connect()

    task = asyncio.create_task(stay_connected())
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=10)
    assert done == {task}
    assert task.cancelled()


@pytest.mark.parametrize(
    "url", ["", "amqp://u:hunter2@host:abc/", "http://u:hunter2@host/", "u:hunter2@host", "amqp://u:hunter2/x@host/"]
)
def test_invalid_broker_url_is_refused_without_repeating_it(url: str) -> None:
    """An unescaped slash in the password is the most common mistake."""
    with pytest.raises(ValueError, match="address of a broker") as refused:
        RpcClient([url], "test")
    assert "hunter2" not in str(refused.value)


async def test_client_without_a_broker_url_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one broker address"):
        async with RpcClient([], "test"):
            pass


async def test_client_entered_twice_raises_an_error() -> None:
    """A second connection task would never be stopped."""
    async with RpcClient(["amqp://guest:guest@127.0.0.1:9/"], "test") as client:
        with pytest.raises(RuntimeError, match="already entered"):
            await client.__aenter__()


async def test_processes_with_the_same_urls_start_at_different_nodes() -> None:
    """Forty starts miss one of three nodes once in millions of runs."""
    async with answering(3) as (urls, asked):
        begun = {await _first_asked(urls, asked) for _ in range(40)}
    assert begun == set(urls)


async def test_unreachable_node_is_skipped() -> None:
    async with answering(1) as ((url,), asked):
        for urls in ([away(), url], [url, away()]):
            assert await _first_asked(urls, asked) == url


@contextlib.asynccontextmanager
async def answering(count: int) -> AsyncIterator[tuple[Sequence[str], "asyncio.Queue[str]"]]:
    """Yield addresses of servers that hang up at once, and a queue of the contacted ones."""
    asked: asyncio.Queue[str] = asyncio.Queue()

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("sockname")
        asked.put_nowait(_address(host, port))
        writer.close()

    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(await asyncio.start_server(hang_up, LOOPBACK)) for _ in range(count)]
        yield [_address(*server.sockets[0].getsockname()) for server in servers], asked


def away() -> str:
    return _address(LOOPBACK, free_port())


def _address(host: str, port: int) -> str:
    return f"amqp://guest:guest@{host}:{port}/"


async def _first_asked(urls: Sequence[str], asked: "asyncio.Queue[str]") -> str:
    """Return the first node that a new connection contacts."""
    while not asked.empty():
        asked.get_nowait()

    async def no_setup(_: AbstractConnection) -> Sequence[AbstractChannel]:
        raise AssertionError("no server accepts connections")

    async with asyncio.timeout(30), Connection(urls, "test", no_setup):
        return await asked.get()
