"""What a local stack keeps in its directory, and that no two share one."""

import base64
from pathlib import Path

import pytest

from dev.processes import StackError
from dev.run_directory import RunDirectory, StackState

STATE = StackState("http://localhost", "amqp://localhost", "mongodb://localhost", {"api": 1})


def test_one_stack_at_a_time(tmp_path: Path) -> None:
    """A second stack in the directory is refused until the first has gone."""
    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    with first.claimed(), pytest.raises(StackError, match="AUTH_RUN_DIR"), second.claimed():
        pass
    with second.claimed():
        pass


def test_the_master_key_is_made_once(tmp_path: Path) -> None:
    """Sessions survive a restart of the stack, because its key does; nobody else can read it."""
    file = RunDirectory(tmp_path).master_keys_file()
    written = file.read_text()
    key_id, _, encoded = written.strip().partition(":")
    assert key_id == "dev1"
    assert len(base64.b64decode(encoded, validate=True)) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert RunDirectory(tmp_path).master_keys_file().read_text() == written


def test_a_running_stack_is_found(tmp_path: Path) -> None:
    """What one process writes about its stack another one reads; its URLs are private."""
    directory = RunDirectory(tmp_path)
    assert directory.read_state() is None
    directory.write_state(STATE)
    assert RunDirectory(tmp_path).read_state() == STATE
    assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600


async def test_the_state_of_a_killed_stack_is_removed(tmp_path: Path) -> None:
    """What a killed stack has written does not outlive the next start, and harms no stranger's process."""
    directory = RunDirectory(tmp_path)
    directory.write_state(STATE)
    await directory.kill_leftovers()
    assert directory.read_state() is None
