"""A worker on fakes, and the tenant and the user that most tests begin with."""

import pytest

from shared.contracts.user import User
from tests.unit.worker.in_memory import InMemoryWorker


@pytest.fixture
def worker() -> InMemoryWorker:
    return InMemoryWorker()


@pytest.fixture
async def shop(worker: InMemoryWorker) -> str:
    """The token of a tenant."""
    return await worker.register()


@pytest.fixture
async def ann(worker: InMemoryWorker, shop: str) -> User:
    """A user of the tenant `shop`."""
    return await worker.create(shop)
