"""The two versions that run side by side: this one, and the commit that landed before it, from git's history."""

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
#: The order of an upgrade; the way back is the opposite. docs/deployment.md says the same.
ORDER = (DEFINITIONS, CALLERS, WORKERS, PERMISSIONS)

HERE = Path(__file__).parent
#: The full hash of the commit that landed last. Each landing moves it (CONTRIBUTING.md).
PIN = HERE / "PREVIOUS"
#: What the edge, the workers and a client consist of, and what makes the broker's definitions.
FOLDERS = ("shared", "api", "worker", "deploy")


@dataclass(frozen=True)
class Version:
    """A version of the service: `old` or `new`, and where its source is."""

    name: str
    tree: Path

    def run(self, script: str, given: object) -> Any:
        """Return what a script of this folder prints, run with this version's source; both speak JSON."""
        done = subprocess.run(  # noqa: S603 - a script of this repository
            # Without the script's own folder on its path, which holds more than the script.
            [sys.executable, "-P", str(HERE / script)],
            env={**os.environ, "PYTHONPATH": str(self.tree)},
            input=json.dumps(given).encode(),
            check=True,
            capture_output=True,
        )
        return json.loads(done.stdout)


def both_versions(directory: Path) -> dict[str, Version]:
    """Return the old and the new version by name, the old one extracted into the directory.

    Without the pinned commit there is nothing to test: that fails in CI and skips elsewhere.
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
    """The commit's folders as a tar file. Raises `CalledProcessError` without the commit."""
    # In CI the checkout may belong to somebody else than the user who runs the tests, and git would not look into it.
    git = ("git", "-c", "safe.directory=*", "-C", str(REPOSITORY))
    command = [*git, "archive", "--format=tar", commit, *FOLDERS]
    return subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - a fixed program
