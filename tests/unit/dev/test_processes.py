"""How the processes of the local stack are started, watched and stopped."""

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from dev.processes import ChildProcess, Service, StackError, kill_leftover

IDLE = "import time; print('up', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {IDLE}"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux offers what this relies on")

MakeChild = Callable[[str], ChildProcess]


@pytest.fixture
async def child_of(tmp_path: Path) -> AsyncIterator[MakeChild]:
    """Makes children that run a Python text, and leaves none of them behind."""
    children = []

    def make(code: str) -> ChildProcess:
        children.append(ChildProcess(Service("child", [sys.executable, "-c", code], os.environ), tmp_path))
        return children[-1]

    yield make
    for child in children:
        await child.kill()


async def up(child: ChildProcess) -> None:
    async def has_spoken() -> bool:
        return "up" in child.tail()

    await child.wait_until(has_spoken, 10)


async def test_terminate_returns_the_exit_code(child_of: MakeChild) -> None:
    """A process that heeds SIGTERM ends by it."""
    child = child_of(IDLE)
    child.start()
    await up(child)
    assert await child.terminate() == -signal.SIGTERM
    assert not child.running


async def test_terminate_kills_after_the_grace(child_of: MakeChild) -> None:
    """A process that ignores SIGTERM is killed when its time is up."""
    child = child_of(DEAF)
    child.start()
    await up(child)
    assert await child.terminate(grace_seconds=0.2) == -signal.SIGKILL


async def test_terminate_of_what_never_started(child_of: MakeChild) -> None:
    """Stopping is safe at every point of a start that failed."""
    assert await child_of(IDLE).terminate() is None


async def test_start_after_the_end(child_of: MakeChild) -> None:
    """A process that was killed can be started again, but not while it runs."""
    child = child_of(IDLE)
    child.start()
    first = child.pid
    with pytest.raises(StackError, match="already running"):
        child.start()
    await child.kill()
    child.start()
    assert child.running
    assert child.pid != first


async def test_tail_begins_at_the_last_start(child_of: MakeChild) -> None:
    """The log keeps every run, and the tail does not blame one run for the words of another."""
    child = child_of("import os; print('said by', os.getpid())")
    pids = []
    for _ in range(2):
        child.start()
        await child.wait()
        pids.append(child.pid)
    assert child.tail() == f"said by {pids[1]}"
    assert child.log_path.read_text() == f"said by {pids[0]}\nsaid by {pids[1]}\n"


async def test_an_early_end_is_told_with_the_log(child_of: MakeChild) -> None:
    """Whoever waits for a process that dies learns its exit code and its last words."""
    child = child_of("print('no such queue'); raise SystemExit(3)")
    child.start()

    async def never() -> bool:
        return False

    with pytest.raises(StackError, match=r"(?s)exit code 3.*no such queue"):
        await child.wait_until(never, 10)


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    """A program that is not installed is an error in one line."""
    child = ChildProcess(Service("child", ["no-such-program"], os.environ), tmp_path)
    with pytest.raises(StackError, match="no-such-program is not installed"):
        child.start()


@linux_only
async def test_a_child_does_not_outlive_a_killed_parent(child_of: MakeChild, tmp_path: Path) -> None:
    """When the stack itself is killed with SIGKILL, so are its processes."""
    parent = child_of(f"""
import os, pathlib, sys, time
from dev.processes import ChildProcess, Service

service = Service("grandchild", [sys.executable, "-c", {IDLE!r}], os.environ)
child = ChildProcess(service, pathlib.Path({str(tmp_path)!r}))
child.start()
while "up" not in child.tail():
    time.sleep(0.01)
print(child.pid, "is up", flush=True)
time.sleep(60)
""")
    parent.start()
    await up(parent)
    grandchild = int(parent.tail().split()[0])
    assert environment_of(grandchild)
    await parent.kill()
    wait_for_end(grandchild)


@linux_only
async def test_only_a_leftover_of_ours_is_killed(child_of: MakeChild, tmp_path: Path) -> None:
    """A recorded pid may belong to anybody by now; only a process that names our log is ours to kill."""
    child = child_of(IDLE)
    child.start()
    await up(child)
    assert not await kill_leftover(child.pid, tmp_path / "another.log")
    assert child.running
    assert await kill_leftover(child.pid, child.log_path)
    assert await child.wait() == -signal.SIGKILL
    assert not await kill_leftover(child.pid, child.log_path)


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while environment_of(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def environment_of(pid: int) -> bytes:
    """Empty once the process has ended, even if nobody has collected its exit code."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
