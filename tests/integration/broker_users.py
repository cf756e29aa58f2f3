"""A broker with the users that deploy/ creates, a worker and the services of two tenants."""

import asyncio
import base64
import contextlib
import json
import secrets
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel
from yarl import URL

from deploy import permissions
from deploy.definitions import Account, Service, definitions
from deploy.permissions import QUEUE_LENGTH, SERVICE_LIMITS, SERVICE_OPERATIONS, operations_of, service_operations
from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import service_exchange
from shared.client.auth_client import AuthClient
from shared.contracts.errors import Unavailable
from shared.contracts.health import HEALTH, HealthRequest
from shared.contracts.operation import Lane
from shared.contracts.tenant_register import TENANT_REGISTER
from tests.backends import Backend, with_indexes
from worker.main import serve
from worker.settings import Settings

PATIENCE_SECONDS = 30
PASSWORD = "correct horse battery"
EMAIL, OTHER_EMAIL = "shop@tenant.test", "shopping@tenant.test"
#: Two services; the name of the first is a prefix of the second.
SHOP, SHOPPING = "shop", "shopping"
LIMITED = ("auth.login", "auth.verify")
#: A service of the first tenant with these permissions only, so without events.
GATEWAY = "gateway"
OF_GATEWAY = ("tokens:verify", "users:read")
REGISTRATION_KEY = "registration key"
#: Tenants may register from this network.
NETWORK, IN_NETWORK = "10.77.0.0/16", "10.77.1.2"


@dataclass(frozen=True)
class Broker:
    """A virtual host with the users of deploy/, a worker on it, and the id of the service's tenant."""

    backend: Backend
    admin: str
    urls: dict[str, str]
    tenant: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    """Set up as an operator does: first edge and worker, then a service for each registered tenant."""
    if backend.kind != "local":
        pytest.skip("imports a file, which a container does not see")
    directory = tmp_path_factory.mktemp("permissions")
    admin = await backend.vhost()
    roles = {"edge": permissions.edge(), "worker": permissions.worker(), QUEUE_LENGTH: permissions.queue_length()}
    urls = await _import(backend, directory, admin, roles, [])
    environment: dict[str, Any] = {
        "AMQP_URL": urls["worker"],
        "AUTH_DECLARE_TOPOLOGY": False,
        "MONGO_URL": await with_indexes(backend.database_url()),
        "AUTH_LANES": ",".join(Lane),
        "AUTH_MASTER_KEYS": f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "AUTH_REGISTRATION_KEY": REGISTRATION_KEY,
        "AUTH_REGISTRATION_NETWORKS": NETWORK,
    }
    settings = Settings(**environment)
    stop = asyncio.Event()
    working = asyncio.create_task(serve(settings, stop))
    try:
        async with RpcClient([urls["edge"]], "test edge", declare=False) as rpc:
            await until_served(rpc)
            tenants = [
                await rpc.call(
                    TENANT_REGISTER,
                    TENANT_REGISTER.request(email=email, password=PASSWORD, registration_key=REGISTRATION_KEY),
                )
                for email in (EMAIL, OTHER_EMAIL)
            ]
        services = [
            Service(SHOP, SERVICE_OPERATIONS),
            Service(SHOPPING, service_operations(LIMITED)),
            Service(GATEWAY, operations_of(OF_GATEWAY)),
        ]
        tenant_of = {SHOP: tenants[0], SHOPPING: tenants[1], GATEWAY: tenants[0]}
        urls |= await _import(
            backend,
            directory,
            admin,
            {
                service.name: permissions.service(
                    service.name, tenant_of[service.name].id, service.operations, events=service.name != GATEWAY
                )
                for service in services
            },
            services,
        )
        yield Broker(backend, admin, urls, tenants[0].id)
    finally:
        stop.set()
        await working


async def _import(
    backend: Backend,
    directory: Path,
    admin: str,
    roles: dict[str, permissions.Permissions],
    services: list[Service],
) -> dict[str, str]:
    """Import the users and return the URL of each role. User names are unique, since users belong to
    the whole broker.
    """
    vhost = URL(admin).path.removeprefix("/")
    limited = {service.name for service in services}
    accounts = {
        role: Account(
            f"{role}-{vhost}", secrets.token_urlsafe(16), roles[role], SERVICE_LIMITS if role in limited else None
        )
        for role in roles
    }
    path = directory / f"{uuid.uuid4().hex}.json"
    path.write_text(json.dumps(definitions(vhost, list(accounts.values()), services)))
    await backend.ctl(["import_definitions", str(path)])
    return {
        role: str(URL(admin).with_user(account.user).with_password(account.password))
        for role, account in accounts.items()
    }


async def until_served(rpc: RpcClient) -> None:
    """Wait until a worker of each lane answers."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for lane in Lane:
            while True:
                with contextlib.suppress(Unavailable):
                    await rpc.call(HEALTH[lane], HealthRequest())
                    break
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def channel_of(broker: Broker, role: str) -> AsyncIterator[AbstractChannel]:
    async with (
        await aio_pika.connect(broker.urls.get(role, broker.admin)) as connection,
        connection.channel(on_return_raises=True) as channel,
    ):
        yield channel


@contextlib.asynccontextmanager
async def shop(broker: Broker) -> AsyncIterator[AuthClient]:
    async with AuthClient.connect(
        broker.urls[SHOP], email=EMAIL, password=PASSWORD, name=SHOP, exchange=service_exchange(SHOP)
    ) as client:
        yield client
