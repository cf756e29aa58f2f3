"""Checks the permissions and topology of a broker, for `--check`. It leaves nothing behind.

Each step uses its own channel, because RabbitMQ closes the channel when it refuses an operation.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError, PublishError
from yarl import URL

from ..amqp.connection import CONNECT_TIMEOUT_SECONDS, ConnectionLost, connect_problem, lost_connections, node_name
from ..amqp.topology import declare_exchanges
from .settings import ProcessSettings


@dataclass(frozen=True, slots=True)
class BrokerNeeds:
    """The operations that a process needs at the broker, apart from declaring exchanges."""

    publishes: tuple[str, ...]
    """Exchanges that it publishes to."""
    queues: str
    """Prefix of the queues that it declares and consumes."""
    binds: str | None = None
    """Exchange that it binds these queues to, with their names as routing keys."""
    probes: str | None = None
    """Exchange that passes probes on to `binds`, and so to these queues."""


async def broker_problems(settings: ProcessSettings, needs: BrokerNeeds) -> list[str]:
    """Return the problems with the broker's nodes, one line each, without the password. Empty: no
    problems."""
    return [
        line for url in settings.broker_urls for line in await _node_problems(url, settings.declare_topology, needs)
    ]


async def _node_problems(url: str, declares: bool, needs: BrokerNeeds) -> list[str]:
    address = URL(url)
    problems: list[str] = []
    try:
        with lost_connections():
            connection = await aio_pika.connect(
                address, timeout=CONNECT_TIMEOUT_SECONDS, client_properties={"connection_name": "check"}
            )
            async with connection:
                found = [await _run_step(connection, step) for step in _check_steps(declares, needs)]
            problems += filter(None, found)
    except ConnectionLost as error:
        problems.append(connect_problem(error.__cause__ or error, address))
    return [f"broker {node_name(address)}: {_masked(address.password, problem)}" for problem in problems]


CheckStep = Callable[[AbstractChannel], Awaitable[str | None]]
"""One step of the check. It returns a problem that the broker does not report by refusing it."""


def _check_steps(declares: bool, needs: BrokerNeeds) -> list[CheckStep]:
    name = f"{needs.queues}check.{uuid.uuid4().hex}"

    async def consume(channel: AbstractChannel) -> str | None:
        queue = await channel.declare_queue(name, exclusive=True)
        if needs.binds:
            await queue.bind(await channel.get_exchange(needs.binds, ensure=False), routing_key=name)
        returned = needs.probes and not await _is_routed(channel, needs.probes, name)
        await queue.get(fail=False)
        await queue.delete(if_unused=False, if_empty=False)
        return f"`{needs.probes}` passes no probes on to `{needs.binds}`: import the definitions" if returned else None

    async def declare(channel: AbstractChannel) -> None:
        await declare_exchanges(channel)

    def publish(exchange_name: str) -> CheckStep:
        async def publish(channel: AbstractChannel) -> None:
            await _is_routed(channel, exchange_name, name)  # no queue is bound to the name, which is intended

        return publish

    return [*([declare] if declares else []), *map(publish, needs.publishes), consume]


async def _is_routed(channel: AbstractChannel, exchange_name: str, key: str) -> bool:
    """Publish an empty message and return whether it reached a queue."""
    exchange = await channel.get_exchange(exchange_name, ensure=False)
    try:
        await exchange.publish(aio_pika.Message(b""), key, mandatory=True)
    except (DeliveryError, PublishError):
        return False
    return True


async def _run_step(connection: AbstractConnection, step: CheckStep) -> str | None:
    """Run one step on its own channel; return the problem, as the broker reports it, or None."""
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    reason: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    channel.close_callbacks.add(lambda _, error: None if reason.done() else reason.set_result(error))
    try:
        with lost_connections():
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                problem = await step(channel)
    except ConnectionLost as error:
        if isinstance(error.__cause__, TimeoutError):
            return "does not answer; it may be in an alarm"
        # The channel's close reason may say more than the exception.
        close_reason = await asyncio.wait_for(reason, CONNECT_TIMEOUT_SECONDS)
        return str(close_reason or error)
    await channel.close()
    return problem


def _masked(password: str | None, text: str) -> str:
    return text.replace(password, "***") if password else text
