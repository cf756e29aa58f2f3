"""`.ci/run` with fakes of the programs that it installs and runs."""

import os
import subprocess
from pathlib import Path

from dev.processes import REPOSITORY


def test_ci_run_sets_ci_for_checks_and_tests(tmp_path: Path) -> None:
    """With `CI` set, a test fails instead of skipping when a service is missing."""
    for name in ("make", "curl", "npm", "apt-get", "promtool"):
        fake = tmp_path / name
        fake.write_text('#!/bin/sh\n[ "${0##*/}" != make ] || echo "$1 CI=$CI"\n')
        fake.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(  # noqa: S603 - a script of this repository
        [str(REPOSITORY / ".ci/run")],
        env={**environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["check CI=1", "test CI=1"]
