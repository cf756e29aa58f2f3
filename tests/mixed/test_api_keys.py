"""API keys during an upgrade: workers of the previous version refuse them, and the client says so."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.client.auth_client import AuthClient
from shared.contracts.errors import ServiceCredentialsRejected
from tests.backends import Backend
from tests.mixed.fleet import Fleet, State
from tests.mixed.versions import WORKERS, both_versions

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW_WORKERS, OLD_WORKERS = (State.of(WORKERS, "old new", "old new", "", workers) for workers in ("new", "old"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    directory = tmp_path_factory.mktemp("mixed-keys")
    versions = both_versions(directory / "previous")
    fleet = Fleet(directory, backend, await backend.vhost(), backend.database_url(), versions)
    try:
        yield fleet
    finally:
        await fleet.stop()


async def test_client_with_an_api_key_is_refused_by_old_workers_and_says_so(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    await fleet.change_to(NEW_WORKERS)
    assert fleet.tenant is not None
    _, key = await fleet.tenant.through(fleet.edges["new"].http).create_key("auth:login", "tokens:verify", "users:read")
    await fleet.tenant.create("ann")
    token = await fleet.tenant.token_of("ann")
    async with AuthClient.connect(fleet.amqp_url, api_key=key, name="keyed") as auth:
        assert (await auth.principal()).tenant == fleet.tenant.id
        assert (await auth.verify(token)).login == "ann"
        assert [user.login for user in (await auth.users.list()).users] == ["ann"]
        await fleet.change_to(OLD_WORKERS)
        for call in (auth.verify(token), auth.users.list(), auth.login("ann", "any password", device_id="phone")):
            with pytest.raises(ServiceCredentialsRejected, match="workers know keys"):
                await call
    assert key[26:69] not in caplog.text
    with pytest.raises(ServiceCredentialsRejected):
        async with AuthClient.connect(fleet.amqp_url, api_key=key, name="keyed") as auth:
            await auth.users.list()
