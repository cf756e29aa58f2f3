"""Repeated requests, concurrent and later, to two workers of each lane."""

import asyncio
import functools
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from shared.amqp.rpc_client import RpcClient
from shared.contracts import OPERATIONS
from shared.contracts.validation import validated
from tests.e2e.tenant import PASSWORD
from tests.office import open_office
from tests.requests import NEW_EACH_TIME, Accounts
from tests.service import RunningService
from worker.adapters.mongo_database import connect

KEY = "let-me-in-please"
#: Members that may differ between two replies: times of reading and of last activity.
TIMES = {"asOf", "lastActivity", "at"}
#: A repeated request gets another secret of the same API key: the first is not stored. A key has at most four.
ISSUING = {"key.create", "key.rotate"}


@pytest_asyncio.fixture
async def rpc(service: RunningService) -> AsyncIterator[RpcClient]:
    async with RpcClient([service.amqp_url], "a service") as client, asyncio.timeout(30):
        await client.connected.wait()
        yield client


@pytest_asyncio.fixture
async def accounts(rpc: RpcClient, service: RunningService) -> Accounts:
    """A tenant and its user, and an operator, logged in."""
    tenant = {"email": f"{uuid.uuid4().hex}@tenant.test", "password": PASSWORD}
    shop = (await send(rpc, "tenant.register", **tenant, registrationKey=KEY)).token
    ann = {"tenantToken": shop, "login": "ann", "password": PASSWORD}
    await send(rpc, "user.create", **ann, email="ann@example.com")
    token = (await send(rpc, "auth.login", **ann, deviceId="laptop")).access_token
    session = (await send(rpc, "token.introspect", tenantToken=shop, token=token)).jti
    shop_id = (await send(rpc, "tenant.verify", token=shop)).decoded.tenant
    async with connect(service.mongo_url) as database:
        office = await open_office(database, functools.partial(send, rpc))
    accounts = Accounts(
        tenant["email"],
        PASSWORD,
        shop,
        token,
        session,
        KEY,
        office_token=office.token,
        operator_token=office.operator_token,
        operator=office.operator,
        colleague=office.colleague,
        tenant=shop_id,
    )
    issued = await send(rpc, "key.create", **accounts.request("key.create"))
    code = (await send(rpc, "tenant.reset", **accounts.request("tenant.reset"))).code
    return replace(accounts, api_key=issued.key.id, whole_api_key=issued.api_key, reset_code=code)


async def send(rpc: RpcClient, operation_name: str, message_id: str | None = None, /, **fields: Any) -> Any:
    operation = OPERATIONS[operation_name]
    return await rpc.call(operation, validated(operation.request, **fields), message_id=message_id)


def timeless(answer: Any) -> Any:
    """Return a JSON value without its times and secrets of API keys."""
    if isinstance(answer, dict):
        return {name: timeless(value) for name, value in answer.items() if name not in {*TIMES, "apiKey"}}
    return [timeless(value) for value in answer] if isinstance(answer, list) else answer


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_repeated_message_gets_one_reply(rpc: RpcClient, accounts: Accounts, name: str) -> None:
    """Two workers share three concurrent deliveries; two more deliveries follow."""
    message_id = uuid.uuid4().hex
    request = accounts.request(name)
    answers = await asyncio.gather(*(send(rpc, name, message_id, **request) for _ in range(3)))
    answers += [await send(rpc, name, message_id, **request) for _ in range(0 if name in ISSUING else 2)]
    varying = NEW_EACH_TIME.get(name)
    first, *others = [timeless(answer.model_dump(mode="json", exclude=varying)) for answer in answers]
    assert others == [first] * len(others)
