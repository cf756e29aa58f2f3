"""health.<lane>"""

import pytest

from shared.contracts.health import HEALTH
from shared.contracts.operation import Lane
from tests.fakes import FakeDatabase
from tests.unit.worker.in_memory import InMemoryWorker


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("answers", [True, False])
async def test_health_reports_whether_the_database_answers(lane: Lane, *, answers: bool) -> None:
    """The worker answers for every lane in both cases."""
    worker = InMemoryWorker(database=FakeDatabase(answers=answers))
    assert (await worker.call(HEALTH[lane])).database is answers
