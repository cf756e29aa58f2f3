"""API keys during an upgrade: workers of the previous version refuse them, and the client says so."""

import pytest

from shared.client.auth_client import AuthClient
from shared.contracts.errors import ServiceCredentialsRejected
from tests.mixed.fleet import Fleet, State
from tests.mixed.versions import WORKERS

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW_WORKERS, OLD_WORKERS = (State.of(WORKERS, "old new", "old new", "", workers) for workers in ("new", "old"))


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
