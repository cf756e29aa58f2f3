"""health.<lane>"""

import pytest

from shared.contracts.health import HEALTH
from shared.contracts.operation import Lane
from tests.fakes import FakeDatabase
from tests.unit.worker.in_memory import InMemoryWorker


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("answers", [True, False])
async def test_health_tells_of_the_database(lane: Lane, *, answers: bool) -> None:
    """A worker that lives says so of every lane, also when its database does not answer."""
    worker = InMemoryWorker(database=FakeDatabase(answers=answers))
    assert (await worker.call(HEALTH[lane])).database is answers
