"""Files of a local stack in its run directory, and the lock on it."""

import base64
from pathlib import Path

import pytest

from dev.processes import StackError
from dev.run_directory import RunDirectory, StackState

STATE = StackState("http://localhost", "amqp://localhost", "mongodb://localhost", {"api": 1})


def test_second_stack_in_a_claimed_directory_is_refused(tmp_path: Path) -> None:
    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    with first.claimed(), pytest.raises(StackError, match="AUTH_RUN_DIR"), second.claimed():
        pass
    with second.claimed():
        pass


def test_master_key_is_private_and_survives_a_restart(tmp_path: Path) -> None:
    """Sessions survive a restart of the stack because of this."""
    file = RunDirectory(tmp_path).master_keys_file()
    written = file.read_text()
    key_id, _, encoded = written.strip().partition(":")
    assert key_id == "dev1"
    assert len(base64.b64decode(encoded, validate=True)) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert RunDirectory(tmp_path).master_keys_file().read_text() == written


def test_written_state_of_a_stack_is_read_by_another_process(tmp_path: Path) -> None:
    """The file is private because its URLs hold passwords."""
    directory = RunDirectory(tmp_path)
    assert directory.read_state() is None
    directory.write_state(STATE)
    assert RunDirectory(tmp_path).read_state() == STATE
    assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600


async def test_state_of_a_killed_stack_is_removed_by_the_next_start(tmp_path: Path) -> None:
    """Processes of other programs are not touched."""
    directory = RunDirectory(tmp_path)
    directory.write_state(STATE)
    await directory.kill_leftovers()
    assert directory.read_state() is None
