"""The service that is fuzzed, as processes, and how much is tried: bounded and the same each time, or `FUZZ=long`."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import pytest_asyncio

from tests.backends import Backend
from tests.service import RunningService, running_service

#: How many times the examples of an ordinary run a long one tries, and others each time.
LONG = 20
IS_LONG = os.environ.get("FUZZ") == "long"

#: How many inputs were tried, by what they were given to.
tried: Counter[str] = Counter()


def bounded(examples: int) -> hypothesis.settings:
    """So many examples and no deadline for any: what a noisy machine does is not what is tested."""
    return hypothesis.settings(
        max_examples=examples * (LONG if IS_LONG else 1),
        derandomize=not IS_LONG,
        print_blob=True,
        database=None,
        # What fails does so by waiting for an answer that does not come: too slow to be tried again and again.
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningService]:
    """One process of each kind: whatever is wrong with any of them, there is no other to hide it."""
    directory = tmp_path_factory.mktemp("fuzzed")
    async with running_service(
        directory,
        await backend.vhost(),
        backend.database_url(),
        env={"AUTH_REGISTRATION_KEY": "let-me-in-please"},
    ) as running:
        yield running


@pytest.fixture
def unharmed(service: RunningService) -> Iterator[RunningService]:
    """The service, of which after the test every process must live, and none must have logged an error."""
    yield service
    ended = [name for name, process in service.processes.items() if not process.running]
    assert not ended, f"{ended} ended: {service.logs()[-4000:]}"
    logged = [line for process in service.processes.values() for line in process.log_path.read_text().splitlines()]
    unexpected = [line for line in logged if not line.startswith("{") or '"level": "error"' in line]
    assert not unexpected, unexpected[:20]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """States how much was tried."""
    if tried:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(tried.items()))
        terminalreporter.write_line(f"fuzzed with {counts}")
