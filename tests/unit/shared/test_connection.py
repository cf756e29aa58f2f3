"""What counts as a lost connection, and what does not; and which of several nodes is asked."""

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
async def test_whatever_the_libraries_raise_is_a_loss(error: Exception) -> None:
    """The type of what was raised is told, because its text may be empty."""
    with pytest.raises(ConnectionLost, match=type(error).__name__), lost_connections():
        raise error


async def test_what_the_broker_says_of_a_message_is_no_loss() -> None:
    """A message that was returned or refused says nothing about the connection."""
    with pytest.raises(DeliveryError), lost_connections():
        raise DeliveryError(None, Basic.Nack(1))


async def test_a_cancellation_that_nobody_asked_for_is_a_loss() -> None:
    """The libraries cancel what waits on a dying connection; its caller was not cancelled."""
    waiting = asyncio.get_running_loop().create_future()
    waiting.cancel()
    with pytest.raises(ConnectionLost), lost_connections():
        await waiting


async def test_a_cancellation_is_a_cancellation() -> None:
    """Who is cancelled, by a caller or by a deadline, ends as cancelled."""

    async def wait_for_ever() -> None:
        with lost_connections():
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_for_ever(), 0.001)


@pytest.mark.parametrize("error", [OSError("refused"), DeliveryError(None, Basic.Nack(1))])
async def test_a_cancellation_that_a_library_swallows_is_one_all_the_same(error: Exception) -> None:
    """It comes in the moment in which a connection fails: who was cancelled would go on connecting for ever."""

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
def test_what_is_no_address_of_a_broker_is_refused_without_repeating_it(url: str) -> None:
    """A slash in a password is the usual one."""
    with pytest.raises(ValueError, match="address of a broker") as refused:
        RpcClient([url], "test")
    assert "hunter2" not in str(refused.value)


async def test_without_any_address_it_does_not_begin() -> None:
    with pytest.raises(ValueError, match="at least one broker address"):
        async with RpcClient([], "test"):
            pass


async def test_it_is_entered_once_at_a_time() -> None:
    """A second task would be one that nobody ends."""
    async with RpcClient(["amqp://guest:guest@127.0.0.1:9/"], "test") as client:
        with pytest.raises(RuntimeError, match="already entered"):
            await client.__aenter__()


async def test_processes_begin_at_different_nodes() -> None:
    """All are given the same list. That forty leave out one of three nodes happens once in millions of runs."""
    async with answering(3) as (urls, asked):
        begun = {await _first_asked(urls, asked) for _ in range(40)}
    assert begun == set(urls)


async def test_the_next_node_is_asked_when_one_is_away() -> None:
    """Wherever in the list it stands."""
    async with answering(1) as ((url,), asked):
        for urls in ([away(), url], [url, away()]):
            assert await _first_asked(urls, asked) == url


@contextlib.asynccontextmanager
async def answering(count: int) -> AsyncIterator[tuple[Sequence[str], "asyncio.Queue[str]"]]:
    """Addresses where somebody hangs up at once, and which of them were asked."""
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
    """By a connection of its own, which ends then."""
    while not asked.empty():
        asked.get_nowait()

    async def no_setup(_: AbstractConnection) -> Sequence[AbstractChannel]:
        raise AssertionError("nobody answered")

    async with asyncio.timeout(30), Connection(urls, "test", no_setup):
        return await asked.get()
