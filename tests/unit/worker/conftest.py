"""A worker on fakes, with a tenant and a user that most tests start with."""

import pytest

from shared.contracts.user import User
from tests.unit.worker.in_memory import InMemoryWorker


@pytest.fixture
def worker() -> InMemoryWorker:
    return InMemoryWorker()


@pytest.fixture
async def shop(worker: InMemoryWorker) -> str:
    """Return the token of a tenant."""
    return await worker.register()


@pytest.fixture
async def ann(worker: InMemoryWorker, shop: str) -> User:
    """Return a user of the tenant `shop`."""
    return await worker.create(shop)
