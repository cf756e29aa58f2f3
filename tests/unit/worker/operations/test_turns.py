"""Whose turn each operation waits for that has a password hashed, and that it gives it back."""

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
#: Of those who have not proven who they are.
STRANGERS = {"tenant.register", "tenant.login"}


class Full(FakeTurns):
    """A lane without a place for anybody, once it is told so."""

    full = False

    async def enter(self, whose: str, call: Call) -> None:
        if self.full:
            raise Overloaded
        await super().enter(whose, call)


class Scene:
    """A tenant and its user ann, and a worker of which everything that is hashed is counted."""

    def __init__(self) -> None:
        self.turns, self.hasher = Full(), FakeHasher()
        self.worker = InMemoryWorker(turns=self.turns, hasher=self.hasher)
        self.tenant = ""

    async def begin(self) -> Accounts:
        shop = await self.worker.register(EMAIL)
        await self.worker.create(shop)
        token = await self.worker.login(shop)
        session = await self.worker.session_of(token)
        self.tenant = session.tenant
        self.turns.entered.clear()
        self.turns.left = self.hasher.work = 0
        return Accounts(EMAIL, PASSWORD, shop, token, session.id, REGISTRATION_KEY)


@pytest.mark.parametrize("name", NAMES)
async def test_a_request_waits_for_the_turn_of_its_tenant(name: str) -> None:
    """Once, however much it hashes. Clients of the edges are one until they have proven who they are."""
    scene = Scene()
    accounts = await scene.begin()
    await scene.worker.call(OPERATIONS[name], **accounts.request(name))
    assert scene.turns.entered == ["clients of edges" if name in STRANGERS else scene.tenant]
    assert scene.turns.left == 1
    assert scene.hasher.work


@pytest.mark.parametrize("name", NAMES)
async def test_a_service_is_one_until_it_has_proven_its_tenant(name: str) -> None:
    """By the exchange that it published to, which it cannot choose."""
    scene = Scene()
    accounts = await scene.begin()
    await scene.worker.call_as("billing", OPERATIONS[name], **accounts.request(name))
    assert scene.turns.entered == ["service billing" if name in STRANGERS else scene.tenant]


@pytest.mark.parametrize("name", NAMES)
async def test_a_request_without_a_place_does_nothing(name: str) -> None:
    """It is refused before anything is hashed, counted as a guess, or changed; and done when there is a place."""
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
async def test_what_hashes_nothing_takes_no_turn(name: str) -> None:
    """It has lanes of its own, where nobody waits for cores."""
    scene = Scene()
    accounts = await scene.begin()
    await scene.worker.call(OPERATIONS[name], **accounts.request(name))
    assert (scene.turns.entered, scene.hasher.work) == ([], 0)
