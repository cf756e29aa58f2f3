"""The client as its users install it: by pip, into a virtual environment of its own."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dev.processes import REPOSITORY

DISTRIBUTION = REPOSITORY / "client"
#: Ends a broken installation; a slow network may take long.
TIMEOUT_SECONDS = 300


class Installation:
    """A virtual environment with the given packages, in the versions of locks/check.txt."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "venv/bin"
        self._constraints = directory / "constraints.txt"

    @classmethod
    async def of(cls, directory: Path, *requirements: str) -> "Installation":
        """Install these requirements into a new environment. Raise `AssertionError` with pip's output on failure."""
        installation = cls(directory)
        lock = (REPOSITORY / "locks/check.txt").read_text()
        installation._constraints.write_text("\n".join(re.findall(r"^[\w.-]+==[\w.]+", lock, re.MULTILINE)))
        await run(sys.executable, "-m", "venv", str(directory / "venv"))
        await installation.pip("install", "--quiet", *requirements)
        return installation

    async def pip(self, command: str, *arguments: str) -> str:
        """Run pip and return its output. Raise `AssertionError` on failure."""
        if command == "install":
            arguments = ("--constraint", str(self._constraints), *arguments)
        return await self.python("-m", "pip", "--disable-pip-version-check", command, *arguments)

    async def python(self, *arguments: str) -> str:
        """Run a Python of this environment, isolated from the repository, and return its output."""
        return await run(str(self.bin / "python"), "-I", *arguments)


async def run(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return its standard output. Raise `AssertionError` with all output on failure."""
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
