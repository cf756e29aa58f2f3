"""`.ci/run`, with stand-ins for what it would install and run."""

import os
import subprocess
from pathlib import Path

from dev.processes import REPOSITORY


def test_a_missing_service_is_a_failure_there(tmp_path: Path) -> None:
    """Checks and tests run with `CI` set, without which a test skips what it misses."""
    for name in ("make", "curl", "npm", "apt-get", "promtool"):
        stand_in = tmp_path / name
        stand_in.write_text('#!/bin/sh\n[ "${0##*/}" != make ] || echo "$1 CI=$CI"\n')
        stand_in.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(  # noqa: S603 - a script of this repository
        [str(REPOSITORY / ".ci/run")],
        env={**environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["check CI=1", "test CI=1"]
