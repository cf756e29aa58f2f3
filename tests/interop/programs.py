"""Finds the programs that these tests run."""

import asyncio
import os
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path

import pytest

from dev.processes import REPOSITORY

#: Programs that Debian does not have: `make interop` installs them from PyPI into this environment.
TOOLS = REPOSITORY / ".interop"
#: Debian installs servers in /usr/sbin, which is on the search path of root alone.
SEARCH_PATH = os.pathsep.join((str(TOOLS / "bin"), os.environ.get("PATH", ""), "/usr/sbin"))

#: Limit for one run of a program, which may install packages.
PROGRAM_SECONDS = 60


def program(name: str, *, in_ci: bool = False) -> str:
    """Return the path of a program.

    Without it the test fails under `make interop` and, with `in_ci`, in CI. Elsewhere it is skipped.
    """
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        _missing(name, in_ci=in_ci)
    return str(path)


def file(path: Path, *, in_ci: bool = False) -> Path:
    """Return the path of a file of a program, for example a module of a server; missing files are treated as above."""
    if not path.exists():
        _missing(str(path), in_ci=in_ci)
    return path


async def output_of(directory: Path, *command: str, env: Mapping[str, str] | None = None) -> str:
    """Return what a command prints. A command that fails fails the test."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=directory, env={**os.environ, **(env or {})}, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(PROGRAM_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return output.decode()


def _missing(name: str, *, in_ci: bool) -> None:
    if "INTEROP" in os.environ or (in_ci and "CI" in os.environ):
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed: make interop")
