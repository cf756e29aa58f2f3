"""Redelivery of a request whose worker loses its connection after the operation and before the reply."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.amqp.connection import Connection
from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import LaneQueue
from shared.contracts import OPERATIONS
from shared.contracts.wire import WireModel
from tests.fakes import REGISTRATION_KEY
from tests.integration.proxy import Proxy
from tests.requests import NEW_EACH_TIME, Accounts
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.amqp.consumer import Consumer, Consumption
from worker.amqp.replies import Replies
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.operations import HANDLERS, Handler


class Deliveries:
    """Runs the operation at two workers. The first one is cut off after the operation and resumes when
    the second one has run it.
    """

    def __init__(self, operation: str) -> None:
        self.answers: list[WireModel] = []
        self.message_ids: list[str] = []
        self._handler = HANDLERS[operation]
        self._redelivered = asyncio.Event()

    def at(self, proxy: Proxy) -> Handler:
        """Return the handler of the worker behind this proxy."""

        async def handle(request: Any, call: Call, ports: Ports) -> WireModel:
            answer = await self._handler(request, call, ports)
            self.answers.append(answer)
            self.message_ids.append(call.message_id)
            if len(self.answers) == 1:
                await proxy.cut()
                await self._redelivered.wait()
            self._redelivered.set()
            return answer

        return handle


@contextlib.asynccontextmanager
async def running(operation: str, deliveries: Deliveries, ports: Ports, amqp_url: str) -> AsyncIterator[Consumer]:
    """A worker behind a proxy of its own."""
    consumption = Consumption(LaneQueue("rpc.test", (operation,)), 16)
    async with Proxy(amqp_url) as proxy, Replies([proxy.url], "test replies") as replies:
        consumer = Consumer([consumption], {operation: deliveries.at(proxy)}, ports, replies)
        async with Connection([proxy.url], "test worker", consumer.setup) as connection:
            await connection.connected.wait()
            yield consumer


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_redelivered_request_gets_the_first_reply(rpc: RpcClient, amqp_url: str, name: str) -> None:
    """No revocation is decided twice."""
    operation = OPERATIONS[name]
    world = InMemoryWorker()
    shop = await world.register()
    await world.create(shop)
    token = await world.login(shop)
    tenant = (await world.session_of(shop)).tenant
    session, key = (await world.session_of(token)).id, await world.create_key(shop)
    office = await world.open_office()
    operator = await world.operator_login(office)
    code = await world.reset_code(operator, tenant)
    fixed = ("shop@example.com", PASSWORD, shop, token, session, REGISTRATION_KEY)
    accounts = Accounts(*fixed, key.key.id, key.api_key, office, operator, tenant=tenant, reset_code=code)
    deliveries = Deliveries(operation.name)
    async with (
        asyncio.timeout(60),
        running(operation.name, deliveries, world.ports, amqp_url) as one,
        running(operation.name, deliveries, world.ports, amqp_url) as other,
    ):
        request = operation.request.model_validate(accounts.request(operation.name))
        answer = await rpc.call(operation, request, message_id="message", timeout_seconds=50)
        for consumer in (one, other):
            assert await consumer.drain(10)
    varying = NEW_EACH_TIME.get(operation.name)
    first, second = (each.model_dump(exclude=varying) for each in deliveries.answers)
    assert first == second
    assert answer in deliveries.answers
    assert deliveries.message_ids == ["message", "message"]
    assert {user.generation for user in await world.users.page(tenant, "", "", 10)} <= {0, 1}
