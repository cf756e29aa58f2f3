"""Ten minutes of mixed load."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.profile import note
from tests.faults.stack import Crashable, Stack, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

SECONDS = float(os.environ.get("FAULTS_SOAK_SECONDS", "600"))
#: Pools and caches are filled after this share of the time.
WARM_SHARE = 0.25
#: Allowed growth of memory afterwards; an allocator's use varies.
GROWTH_MIB = 24
#: Allowed growth of descriptors and threads, such as a connection of a pool.
GROWTH = 8


@dataclass(frozen=True)
class Usage:
    """The resources that a process holds."""

    mib: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        directory = Path(f"/proc/{pid}")
        fields = dict(line.split(":", 1) for line in (directory / "status").read_text().splitlines())
        return cls(
            mib=int(fields["VmRSS"].split()[0]) // 1024,
            descriptors=sum(1 for _ in (directory / "fd").iterdir()),
            threads=int(fields["Threads"]),
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(crashable: Crashable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("soak"), crashable) as running:
        yield running


async def test_mixed_load_grows_no_memory_descriptor_thread_or_connection(stack: Stack) -> None:
    async with stack.load() as load:
        await asyncio.sleep(SECONDS * WARM_SHARE)
        before, broker_before = _usage(stack), await _broker(stack)
        await asyncio.sleep(SECONDS * (1 - WARM_SHARE))
        after, broker_after = _usage(stack), await _broker(stack)
    for name, usage in after.items():
        note(f"soak of {SECONDS:.0f} s, {name}: {before[name]} became {usage}")
    note(f"connections and channels: {broker_before} became {broker_after}")
    assert broker_after == broker_before
    for name, usage in after.items():
        assert usage.mib - before[name].mib < GROWTH_MIB, name
        assert usage.descriptors - before[name].descriptors < GROWTH, name
        assert usage.threads - before[name].threads < GROWTH, name
    assert set(load.records.codes()) == {"ok", "invalid_token"}
    await stack.audit(load, "soak")


def _usage(stack: Stack) -> dict[str, Usage]:
    return {name: Usage.of(process.pid) for name, process in stack.service.processes.items()}


async def _broker(stack: Stack) -> tuple[int, int]:
    connections, channels = [await stack.node.ctl(what, "pid") for what in ("list_connections", "list_channels")]
    return len(connections.splitlines()), len(channels.splitlines())
