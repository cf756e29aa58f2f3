"""The broker and the database that fault tests share survive a test that fails while they are dead."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from dev.processes import REPOSITORY

KILLS_AND_FAILS = """
async def test_kills(crashable):
    await crashable.node.kill()
    await crashable.server.kill()
    raise AssertionError("left dead")
"""
USES = """
from dev.ports import accepts_connections

async def test_uses(crashable):
    assert "/" in await crashable.node.ctl("list_vhosts")
    assert await accepts_connections(crashable.server.port)
"""


async def test_broker_and_database_left_dead_by_a_failed_test_run_for_the_next_module(tmp_path: Path) -> None:
    """Otherwise every later test fails in its set-up, and hides the first failure."""
    (tmp_path / "test_1.py").write_text(KILLS_AND_FAILS)
    (tmp_path / "test_2.py").write_text(USES)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.faults.conftest", "-p", "no:cacheprovider"]
    command += ["-c", str(REPOSITORY / "pyproject.toml"), str(tmp_path / "test_1.py"), str(tmp_path / "test_2.py")]
    done = await asyncio.to_thread(subprocess.run, command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if "2 skipped" in done.stdout:
        pytest.skip("no local stack")
    assert "1 failed, 1 passed" in done.stdout, done.stdout
