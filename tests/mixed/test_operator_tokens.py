"""An operator's token at a worker of the previous version, which knows no operators."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from shared.amqp.rpc_client import RpcClient
from shared.contracts import OPERATIONS
from shared.contracts.errors import ErrorCode, InvalidTenantToken, Unavailable
from shared.contracts.validation import validated
from tests.backends import Backend
from tests.mixed.fleet import PATIENCE_SECONDS, Fleet, State
from tests.mixed.versions import WORKERS, both_versions
from tests.office import WITH_OFFICE, open_office
from worker.adapters.mongo_database import connect


async def test_operators_token_is_refused_by_the_previous_version(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers see `invalid_tenant_token`, so an operator's console logs in again. It works when all workers are new."""
    for name, value in WITH_OFFICE.items():
        monkeypatch.setenv(name, value)
    mongo_url = backend.database_url()
    fleet = Fleet(tmp_path, backend, await backend.vhost(), mongo_url, both_versions(tmp_path / "previous"))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(fleet.stop)
        await fleet.change_to(State.of(WORKERS, "old new", "new", "", "new"))
        rpc = await stack.enter_async_context(RpcClient([fleet.amqp_url], "test", declare=False))
        assert await rpc.wait_connected(PATIENCE_SECONDS)

        async def call(name: str, **fields: Any) -> Any:
            operation = OPERATIONS[name]
            request = validated(operation.request, **fields)
            return await rpc.call(operation, request, timeout_seconds=PATIENCE_SECONDS)

        async with connect(mongo_url) as database:
            office = await open_office(database, call)
        assert fleet.tenant is not None
        by_operator = {"tenantToken": office.operator_token, "onTenant": fleet.tenant.id}
        assert (await call("user.list", **by_operator)).users == ()

        await fleet.change_to(State.of(WORKERS, "old new", "new", "", "old"))
        with pytest.raises(InvalidTenantToken):
            await call("user.list", **by_operator)
        assert (await call("user.list", tenantToken=fleet.tenant.token)).users == ()
        with pytest.raises(Unavailable):
            await call("operator.list", tenantToken=office.operator_token)
        over_http = await fleet.edges["new"].http.get(
            "/user", headers={"Authorization": f"Bearer {office.operator_token}", "X-Tenant-ID": fleet.tenant.id}
        )
        assert over_http.json()["code"] == ErrorCode.INVALID_TENANT_TOKEN

        await fleet.change_to(State.of(WORKERS, "old new", "new", "", "new"))
        assert (await call("user.list", **by_operator)).users == ()
