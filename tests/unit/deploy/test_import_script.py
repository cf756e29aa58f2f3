"""`deploy/import.sh` with a fake of `rabbitmqctl`. tests/containers/test_documented_commands.py runs the real one."""

import os
import subprocess
from pathlib import Path

import pytest

from dev.processes import REPOSITORY

#: Prints its arguments, and the mode and content of the file. Like the real one of RabbitMQ 4, it ignores its input.
FAKE = """#!/bin/sh
echo "$1"; echo "$2"; stat --format %a "$2"; cat "$2"; exit {code}
"""


@pytest.mark.parametrize("code", [0, 70], ids=["imported", "refused"])
def test_definitions_from_a_pipe_reach_the_broker_in_a_private_file_that_is_removed(tmp_path: Path, code: int) -> None:
    fake = tmp_path / "rabbitmqctl"
    fake.write_text(FAKE.format(code=code))
    fake.chmod(0o755)
    done = subprocess.run(
        ["sh", "deploy/import.sh"],  # noqa: S607
        cwd=REPOSITORY,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "EXEC": "env", "TMPDIR": str(tmp_path)},
        input='{"vhosts": []}\n',
        capture_output=True,
        text=True,
        check=False,
    )
    command, file, mode, content = done.stdout.splitlines()
    assert (command, mode, content) == ("import_definitions", "600", '{"vhosts": []}')
    assert not Path(file).exists()
    assert done.returncode == code
