"""The client as its users get it: installed by pip into a virtual environment of its own."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dev.processes import REPOSITORY

DISTRIBUTION = REPOSITORY / "client"
#: Only bounds how long a broken one is waited for; an installation may have a slow network.
TIMEOUT_SECONDS = 300


class Installation:
    """A virtual environment with what was installed into it, in the versions that everything else is tested with."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "venv/bin"
        self._constraints = directory / "constraints.txt"

    @classmethod
    async def of(cls, directory: Path, *requirements: str) -> "Installation":
        """These and what they need. Raises `AssertionError` with what pip says when it cannot."""
        installation = cls(directory)
        lock = (REPOSITORY / "locks/check.txt").read_text()
        installation._constraints.write_text("\n".join(re.findall(r"^[\w.-]+==[\w.]+", lock, re.MULTILINE)))
        await run(sys.executable, "-m", "venv", str(directory / "venv"))
        await installation.pip("install", "--quiet", *requirements)
        return installation

    async def pip(self, command: str, *arguments: str) -> str:
        """What pip prints. Raises `AssertionError` if it fails."""
        if command == "install":
            arguments = ("--constraint", str(self._constraints), *arguments)
        return await self.python("-m", "pip", "--disable-pip-version-check", command, *arguments)

    async def python(self, *arguments: str) -> str:
        """What a Python of this environment prints. It finds nothing of the repository by accident."""
        return await run(str(self.bin / "python"), "-I", *arguments)


async def run(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What the command prints on standard output. Raises `AssertionError` with all it prints if it fails."""
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
