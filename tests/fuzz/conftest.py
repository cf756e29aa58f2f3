"""The fuzzed service as processes, and the number of examples: reproducible, or many with `FUZZ=long`."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import pytest_asyncio

from tests.backends import Backend
from tests.service import RunningService, running_service

#: A long run tries this many times the examples of an ordinary one, and different ones each time.
LONG = 20
IS_LONG = os.environ.get("FUZZ") == "long"

#: Number of tried inputs by kind.
tried: Counter[str] = Counter()


def bounded(examples: int) -> hypothesis.settings:
    """Return settings with this many examples and no deadline, since a slow machine is no failure."""
    return hypothesis.settings(
        max_examples=examples * (LONG if IS_LONG else 1),
        derandomize=not IS_LONG,
        print_blob=True,
        database=None,
        # A failure waits for a reply that does not come, so shrinking would take too long.
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningService]:
    """One process of each kind, so that no second process hides a failure."""
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
    """The service. After the test every process must be alive and must have logged no error."""
    yield service
    ended = [name for name, process in service.processes.items() if not process.running]
    assert not ended, f"{ended} ended: {service.logs()[-4000:]}"
    logged = [line for process in service.processes.values() for line in process.log_path.read_text().splitlines()]
    unexpected = [line for line in logged if not line.startswith("{") or '"level": "error"' in line]
    assert not unexpected, unexpected[:20]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of tried inputs."""
    if tried:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(tried.items()))
        terminalreporter.write_line(f"fuzzed with {counts}")
