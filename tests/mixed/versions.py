"""The two versions that run side by side: this one, and the previously landed commit from git's history."""

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dev.processes import REPOSITORY

DEFINITIONS, CALLERS, WORKERS, PERMISSIONS = (
    "Definitions of both versions",
    "Edges and clients",
    "Workers",
    "Definitions of the new version",
)
#: The order of an upgrade, as in docs/deployment.md; a rollback has the reverse order.
ORDER = (DEFINITIONS, CALLERS, WORKERS, PERMISSIONS)

HERE = Path(__file__).parent
#: The full hash of the last landed commit. Each landing moves it (CONTRIBUTING.md).
PIN = HERE / "PREVIOUS"
#: The source of the edge, the workers, the client and the broker's definitions.
FOLDERS = ("shared", "api", "worker", "deploy")


@dataclass(frozen=True)
class Version:
    """A version of the service, `old` or `new`, and the path of its source."""

    name: str
    tree: Path

    def run(self, script: str, input_value: object) -> Any:
        """Run a script of this folder with this version's source and JSON input, and return its JSON output."""
        done = subprocess.run(  # noqa: S603 - a script of this repository
            # Without the script's folder on its path, which contains other modules.
            [sys.executable, "-P", str(HERE / script)],
            env={**os.environ, "PYTHONPATH": str(self.tree)},
            input=json.dumps(input_value).encode(),
            check=True,
            capture_output=True,
        )
        return json.loads(done.stdout)


def both_versions(directory: Path) -> dict[str, Version]:
    """Return the old and the new version by name, the old one extracted into the directory.

    Without the pinned commit the tests fail in CI and are skipped elsewhere.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_archive(PIN.read_text().strip()))) as archive:
            archive.extractall(directory, filter="data")
    except FileNotFoundError as error:
        reason = f"the previous version needs git and its history: {error}"
    except subprocess.CalledProcessError as error:
        reason = (
            f"the commit in {PIN.relative_to(REPOSITORY)} is not in this clone; `git fetch --unshallow` may bring it:"
            f" {error.stderr.decode().strip()}"
        )
    else:
        return {"old": Version("old", directory), "new": Version("new", REPOSITORY)}
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _archive(commit: str) -> bytes:
    """Return the commit's folders as a tar file. Raise `CalledProcessError` without the commit."""
    # In CI the checkout may belong to another user, and git would refuse to read it.
    git = ("git", "-c", "safe.directory=*", "-C", str(REPOSITORY))
    command = [*git, "archive", "--format=tar", commit, *FOLDERS]
    return subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - a fixed program
