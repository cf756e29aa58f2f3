"""A broker shared with other applications, set up as the docs page describes."""

import asyncio
import json
import secrets
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from yarl import URL

import api.check
import api.settings
from dev.processes import REPOSITORY
from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import service_exchange
from shared.client.auth_client import AuthClient
from shared.contracts.operation import Lane
from shared.contracts.tenant_register import TENANT_REGISTER
from tests.backends import Backend, with_indexes
from tests.integration.broker_users import until_served
from worker.main import serve
from worker.settings import Settings

#: The worker runs on one loop for all tests.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_SECONDS = 30
EMAIL, PASSWORD = "shop@tenant.test", "correct horse battery"
HOSTS = "rabbit-1.example.com,rabbit-2.example.com"
OWN_USERS = {"jincor-auth-edge", "jincor-auth-worker"}


@dataclass(frozen=True)
class Shared:
    """The broker after the import, with a worker in our virtual host, and a tenant."""

    backend: Backend
    directory: Path
    vhost: str
    edge_url: str
    tenant: str
    added_users: set[str]

    def url(self, user: str, password: str) -> str:
        return str(URL(self.edge_url).with_user(user).with_password(password))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    if backend.kind != "local":
        pytest.skip("imports a file, which a container does not see")
    directory, vhost = tmp_path_factory.mktemp("shared") / "secrets", f"jincor-auth-{uuid.uuid4().hex[:8]}"
    before = await users(backend)
    await deploy("secrets", "--directory", str(directory), "--broker", HOSTS, "--vhost", vhost)
    await backend.ctl(["import_definitions", str(directory / "definitions.json")])
    edge_url, worker_url = (
        on_test_node(backend, (directory / f"{role}-amqp-url").read_text()) for role in ("edge", "worker")
    )
    environment: dict[str, Any] = {
        "AMQP_URL": worker_url,
        "AUTH_DECLARE_TOPOLOGY": False,
        "MONGO_URL": await with_indexes(backend.database_url()),
        "AUTH_LANES": ",".join(Lane),
        "AUTH_MASTER_KEYS": (directory / "master-keys").read_text(),
        "AUTH_REGISTRATION_KEY": (directory / "registration-key").read_text(),
    }
    stop = asyncio.Event()
    working = asyncio.create_task(serve(Settings(**environment), stop))
    try:
        async with RpcClient([edge_url], "test edge", declare=False) as rpc:
            await until_served(rpc)
            request = TENANT_REGISTER.request(
                email=EMAIL, password=PASSWORD, registration_key=environment["AUTH_REGISTRATION_KEY"]
            )
            tenant = (await rpc.call(TENANT_REGISTER, request)).id
        yield Shared(backend, directory, vhost, edge_url, tenant, await users(backend) - before)
    finally:
        stop.set()
        await working


async def deploy(*arguments: str, password: str = "") -> str:
    """Return what `python -m deploy` prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", *arguments),
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate(password.encode())
    assert process.returncode == 0
    return printed.decode()


async def users(backend: Backend) -> set[str]:
    listed = json.loads(await backend.ctl(["list_users", "--formatter", "json"]))
    return {each["user"] for each in listed}


def on_test_node(backend: Backend, urls: str) -> str:
    """Return the first URL with the address of the test node, which has no TLS."""
    made = URL(urls.partition(",")[0])
    return str(URL(backend.amqp_url).with_user(made.user).with_password(made.password).with_path(made.path))


async def test_import_adds_only_two_users_with_permissions_in_one_virtual_host(shared: Shared) -> None:
    assert shared.added_users == OWN_USERS
    for user in OWN_USERS:
        listed = json.loads(await shared.backend.ctl(["list_user_permissions", user, "--formatter", "json"]))
        assert [each["vhost"] for each in listed] == [shared.vhost]


async def test_urls_name_every_node_the_virtual_host_and_the_brokers_authority(shared: Shared) -> None:
    """No certificates are created for the broker."""
    urls = (shared.directory / "edge-amqp-url").read_text().split(",")
    assert [URL(url).host for url in urls] == HOSTS.split(",")
    for url in map(URL, urls):
        assert (url.scheme, url.port, url.path) == ("amqps", 5671, f"/{shared.vhost}")
        assert url.query == {"cafile": "/run/secrets/broker-ca.pem"}
    assert not list(shared.directory.glob("rabbit*.pem"))


async def test_check_of_an_edge_on_the_shared_broker_passes(shared: Shared) -> None:
    settings = api.settings.Settings(amqp_url=shared.edge_url, declare_topology=False)
    assert await api.check.edge_problems(settings) == []


@pytest.mark.parametrize("known", [False, True], ids=["new user", "existing user"])
async def test_service_on_the_shared_broker_works_with_a_new_or_existing_user(
    shared: Shared, tmp_path: Path, known: bool
) -> None:
    name, password = f"shop-{uuid.uuid4().hex[:8]}", secrets.token_urlsafe(16)
    arguments = ["service", name, "--tenant", shared.tenant, "--vhost", shared.vhost]
    if known:
        await shared.backend.ctl(["add_user", name, password])
        await shared.backend.ctl(["set_user_tags", name, "monitoring"])
        printed = await deploy(*arguments, "--keep-user")
    else:
        printed = await deploy(*arguments, password=password)
    definitions = tmp_path / "service.json"
    definitions.write_text(printed)
    await shared.backend.ctl(["import_definitions", str(definitions)])
    url = shared.url(name, password)
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        AuthClient.connect(url, email=EMAIL, password=PASSWORD, name=name, exchange=service_exchange(name)) as client,
        client.verifier(max_age_seconds=60) as verifier,
    ):
        await client.users.create(name, PASSWORD, email=f"{name}@users.test")
        token = await client.login(name, PASSWORD, device_id="phone")
        assert (await verifier.verify(token)).login == name
        await client.logout(token)
        await verifier.until_ended(token)
    (tags,) = [
        each["tags"]
        for each in json.loads(await shared.backend.ctl(["list_users", "--formatter", "json"]))
        if each["user"] == name
    ]
    assert tags == (["monitoring"] if known else [])
