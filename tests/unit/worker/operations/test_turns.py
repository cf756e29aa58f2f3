"""Turns on the password lane: which group each operation enters, and that it leaves again."""

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.errors import Overloaded
from shared.contracts.operation import Lane
from tests.fakes import REGISTRATION_KEY, FakeHasher, FakeTurns
from tests.requests import Accounts
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.domain.call import Call

EMAIL = "shop@example.com"
NAMES = [name for name, each in OPERATIONS.items() if each.lane is Lane.PASSWORD and not name.startswith("health.")]
#: Operations whose callers are not authenticated yet.
UNAUTHENTICATED = {"tenant.register", "tenant.login", "tenant.complete_reset"}


class FullTurns(FakeTurns):
    """A lane that refuses each request while `full` is set."""

    full = False

    async def enter(self, group: str, call: Call) -> None:
        if self.full:
            raise Overloaded
        await super().enter(group, call)


class Scene:
    """A tenant with a user `ann`, and a worker whose hashes are counted."""

    def __init__(self) -> None:
        self.turns, self.hasher = FullTurns(), FakeHasher()
        self.worker = InMemoryWorker(turns=self.turns, hasher=self.hasher)
        self.tenant = self.office = ""

    async def begin(self) -> Accounts:
        shop = await self.worker.register(EMAIL)
        await self.worker.create(shop)
        token = await self.worker.login(shop)
        session = await self.worker.session_of(token)
        key = await self.worker.create_key(shop)
        office = await self.worker.open_office()
        operator = await self.worker.operator_login(office)
        self.tenant, self.office = session.tenant, (await self.worker.session_of(office)).tenant
        self.turns.entered.clear()
        self.turns.left = self.hasher.work = 0
        code = await self.worker.reset_code(operator, session.tenant)
        fixed = (EMAIL, PASSWORD, shop, token, session.id, REGISTRATION_KEY)
        keys = (key.key.id, key.api_key)
        return Accounts(*fixed, *keys, office, operator, tenant=session.tenant, reset_code=code)

    def group_of(self, name: str, unauthenticated: str) -> str:
        """Return the group of the operation's usual request."""
        if name in UNAUTHENTICATED:
            return unauthenticated
        return self.office if name.startswith("operator.") else self.tenant


@pytest.mark.parametrize("name", NAMES)
async def test_request_enters_the_group_of_its_tenant_once(name: str) -> None:
    """Unauthenticated clients of the edges share one group."""
    scene = Scene()
    accounts = await scene.begin()
    await scene.worker.call(OPERATIONS[name], **accounts.request(name))
    assert scene.turns.entered == [scene.group_of(name, "clients of edges")]
    assert scene.turns.left == 1
    assert scene.hasher.work


@pytest.mark.parametrize("name", NAMES)
async def test_unauthenticated_request_of_a_service_enters_the_services_group(name: str) -> None:
    """The exchange identifies the service, which cannot choose it."""
    scene = Scene()
    accounts = await scene.begin()
    await scene.worker.call_as("billing", OPERATIONS[name], **accounts.request(name))
    assert scene.turns.entered == [scene.group_of(name, "service billing")]


@pytest.mark.parametrize("name", NAMES)
async def test_request_refused_by_a_full_lane_has_no_effect(name: str) -> None:
    """The worker hashes, counts and changes nothing, and the same request succeeds later."""
    scene = Scene()
    accounts = await scene.begin()
    records = dict(scene.worker.audit.records)
    scene.turns.full = True
    with pytest.raises(Overloaded):
        await scene.worker.call(OPERATIONS[name], **accounts.request(name))
    assert (scene.hasher.work, scene.worker.attempts.tried) == (0, 0)
    assert scene.worker.audit.records == records
    scene.turns.full = False
    assert await scene.worker.call(OPERATIONS[name], **accounts.request(name))


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - set(NAMES)))
async def test_operation_without_a_hash_takes_no_turn(name: str) -> None:
    scene = Scene()
    accounts = await scene.begin()
    await scene.worker.call(OPERATIONS[name], **accounts.request(name))
    assert (scene.turns.entered, scene.hasher.work) == ([], 0)
