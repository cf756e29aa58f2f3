"""Every operation with every kind of credential, in memory: only the needed permission lets a request through."""

import copy
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.auth_verify import AuthVerifyReply
from shared.contracts.errors import AuthError, ErrorCode
from shared.contracts.operation import Operation, TenantRequest
from shared.contracts.other_proofs import OTHER_PROOFS
from shared.contracts.permissions import INSTALLATION_PERMISSIONS, MEANINGS, OPERATOR_PERMISSIONS, Permission
from tests.fakes import NOW
from tests.permission_matrix import (
    PASSWORD,
    PROTECTED,
    Answer,
    Outcome,
    Present,
    Stores,
    World,
    access_token_with_everything,
    check,
    key_with_everything,
    operator_with_everything,
    request_of,
    rows,
    title,
)
from tests.unit.worker.in_memory import InMemoryWorker

CASES = [
    (operation, present, outcome)
    for operation in PROTECTED.values()
    for present, outcome in rows(operation, takes_tenant=issubclass(operation.request, TenantRequest)).items()
]


@pytest.fixture
async def world(worker: InMemoryWorker) -> World:
    password_hash = await worker.ports.hasher.hash(PASSWORD)
    operators = (await worker.session_of(await worker.open_office())).tenant
    stores = Stores(worker.tenants, worker.users, worker.sessions, worker.ports.tokens, password_hash, NOW, operators)
    return await World.begin(stores)


def state(worker: InMemoryWorker, tenant: str) -> dict[str, Any]:
    """Return what is stored of a tenant, its users and sessions, and the events announced."""
    stored = {
        key: value
        for store in (worker.tenants, worker.users, worker.sessions)
        for key, value in vars(store)["_stored"].items()
    }
    return copy.deepcopy({key: value for key, value in stored.items() if tenant in repr(value)}) | {
        "announced": [session for session in worker.events.announced if session.tenant == tenant]
    }


async def ask(worker: InMemoryWorker, operation: Operation[Any, Any], request: dict[str, Any]) -> Answer:
    try:
        reply = await worker.call(operation, **request)
        if isinstance(reply, AuthVerifyReply):
            reply.answers[0].unwrap()
    except AuthError as error:
        permission = (error.details or {}).get("permission")
        return Answer(error.code, str(permission) if permission else None, repr(error))
    return Answer(None, None, reply.model_dump_json())


@pytest.mark.parametrize(
    ("operation", "present", "outcome"),
    CASES,
    ids=[f"{operation.name} {title(present)}" for operation, present, _ in CASES],
)
async def test_operation_lets_only_its_permission_through(
    worker: InMemoryWorker, world: World, operation: Operation[Any, Any], present: Present, outcome: Outcome
) -> None:
    """A refused request changes nothing of the tenant."""
    assert operation.permission is not None
    presented = await present(world, operation.permission)
    request = request_of(operation, await world.accounts(presented.credential), presented.on_tenant)
    before = state(worker, world.shop.id)

    check(outcome, await ask(worker, operation, request), operation, world)

    if outcome is not Outcome.ALLOWED:
        assert state(worker, world.shop.id) == before


@pytest.mark.parametrize("name", ["user.create", "user.delete", "session.revoke", "auth.logout"])
async def test_allowed_request_changes_the_state_that_is_compared(
    worker: InMemoryWorker, world: World, name: str
) -> None:
    """Shows that the comparison above sees a change."""
    _, token = await world.session(world.shop.id)
    before = state(worker, world.shop.id)
    request = request_of(OPERATIONS[name], await world.accounts(token), None)
    assert (await ask(worker, OPERATIONS[name], request)).code is None
    assert state(worker, world.shop.id) != before


@pytest.mark.parametrize("name", ["tenant.verify", "tenant.logout", "tenant.update", "tenant.disable", "tenant.delete"])
@pytest.mark.parametrize(
    "present", [key_with_everything, access_token_with_everything, operator_with_everything], ids=title
)
async def test_operation_on_the_tenants_own_token_refuses_other_credentials(
    worker: InMemoryWorker, world: World, name: str, present: Present
) -> None:
    """No permission replaces the tenant's own token."""
    presented = await present(world, Permission.TENANT_WRITE)
    request = (await world.accounts(presented.credential)).request(name)
    before = state(worker, world.shop.id)
    answer = await ask(worker, OPERATIONS[name], request)
    assert answer.code in {ErrorCode.INVALID_TOKEN, ErrorCode.INVALID_TENANT_TOKEN}
    assert state(worker, world.shop.id) == before


def test_operation_without_a_permission_has_another_proof() -> None:
    without = {name for name, operation in OPERATIONS.items() if operation.permission is None}
    assert set(OTHER_PROOFS) == without


def test_every_permission_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Permission)
    assert INSTALLATION_PERMISSIONS <= OPERATOR_PERMISSIONS
