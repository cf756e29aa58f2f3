"""Start, supervision and stop of the local stack's processes."""

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
    """Start children that run a Python program, and kill them at the end."""
    children = []

    def make(code: str) -> ChildProcess:
        children.append(ChildProcess(Service("child", [sys.executable, "-c", code], os.environ), tmp_path))
        return children[-1]

    yield make
    for child in children:
        await child.kill()


async def until_up(child: ChildProcess) -> None:
    async def has_printed_up() -> bool:
        return "up" in child.tail()

    await child.wait_until(has_printed_up, 10)


async def test_terminate_of_a_cooperating_process_returns_its_exit_code(child_of: MakeChild) -> None:
    child = child_of(IDLE)
    child.start()
    await until_up(child)
    assert await child.terminate() == -signal.SIGTERM
    assert not child.running


async def test_terminate_of_a_process_that_ignores_sigterm_kills_it_after_the_grace(child_of: MakeChild) -> None:
    child = child_of(DEAF)
    child.start()
    await until_up(child)
    assert await child.terminate(grace_seconds=0.2) == -signal.SIGKILL


async def test_terminate_before_the_start_returns_none(child_of: MakeChild) -> None:
    """A failed start can stop its processes at any point."""
    assert await child_of(IDLE).terminate() is None


async def test_start_after_a_kill_runs_a_new_process(child_of: MakeChild) -> None:
    """A running process cannot be started twice."""
    child = child_of(IDLE)
    child.start()
    first = child.pid
    with pytest.raises(StackError, match="already running"):
        child.start()
    await child.kill()
    child.start()
    assert child.running
    assert child.pid != first


async def test_tail_after_a_restart_holds_only_the_last_run(child_of: MakeChild) -> None:
    """The log file keeps all runs."""
    child = child_of("import os; print('said by', os.getpid())")
    pids = []
    for _ in range(2):
        child.start()
        await child.wait()
        pids.append(child.pid)
    assert child.tail() == f"said by {pids[1]}"
    assert child.log_path.read_text() == f"said by {pids[0]}\nsaid by {pids[1]}\n"


async def test_wait_for_a_process_that_exits_raises_its_exit_code_and_output(child_of: MakeChild) -> None:
    child = child_of("print('no such queue'); raise SystemExit(3)")
    child.start()

    async def never() -> bool:
        return False

    with pytest.raises(StackError, match=r"(?s)exit code 3.*no such queue"):
        await child.wait_until(never, 10)


async def test_start_of_a_missing_program_raises_an_error_with_its_name(tmp_path: Path) -> None:
    child = ChildProcess(Service("child", ["no-such-program"], os.environ), tmp_path)
    with pytest.raises(StackError, match="no-such-program is not installed"):
        child.start()


@linux_only
async def test_child_of_a_killed_parent_is_killed(child_of: MakeChild, tmp_path: Path) -> None:
    """This holds for SIGKILL, too."""
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
    await until_up(parent)
    grandchild = int(parent.tail().split()[0])
    assert environment_of(grandchild)
    await parent.kill()
    wait_for_end(grandchild)


@linux_only
async def test_leftover_process_is_killed_only_if_it_names_our_log(child_of: MakeChild, tmp_path: Path) -> None:
    """Another process may have the recorded pid by now."""
    child = child_of(IDLE)
    child.start()
    await until_up(child)
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
    """Return the environment of a process; empty once it has exited, even as a zombie."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
