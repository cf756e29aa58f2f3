"""A broker and a database for tests that kill them."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dev.mongo import MongoServer
from dev.processes import StackError
from dev.rabbitmq import RabbitNode
from tests.faults.profile import FIGURES, LONG
from tests.faults.stack import Crashable


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _crashable(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Crashable]:
    directory = tmp_path_factory.mktemp("crashable")
    node, server = RabbitNode(directory / "rabbitmq"), MongoServer(directory / "mongo")
    async with contextlib.AsyncExitStack() as undo:
        # Their data is not needed again, so they are killed.
        for stop in (node.stop, node.kill, server.kill):
            undo.push_async_callback(stop)
        try:
            await asyncio.gather(node.start(), server.start())
        except StackError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no local stack: {error}")
        yield Crashable(node, server)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crashable(_crashable: Crashable) -> Crashable:
    """A broker and a database for tests that kill them. Each test leaves them running.

    A failed test may not have, so they are started again for each module.
    """
    await _crashable.start_missing()
    return _crashable


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes, so only `make faults` runs it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip long tests outside `make faults`."""
    skip = pytest.mark.skip(reason="takes minutes: make faults")
    for item in items:
        if item.get_closest_marker("long") and not LONG:
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the recorded figures."""
    if FIGURES:
        terminalreporter.section("faults")
        for figure in FIGURES:
            terminalreporter.write_line(figure)
