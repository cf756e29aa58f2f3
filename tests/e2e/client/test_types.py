"""Errors of mypy in programs that use the installed client."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.client.installation import TIMEOUT_SECONDS, Installation
from tests.e2e.client.typos import PROGRAM, typo_lines


async def test_misspelled_argument_is_an_error_to_mypy(with_fastapi: Installation, tmp_path: Path) -> None:
    """tests/interop/test_pyright.py tests the same with pyright."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    checked = await asyncio.to_thread(
        subprocess.run,
        [
            *(sys.executable, "-m", "mypy", "--strict", "--python-executable", str(with_fastapi.bin / "python")),
            *("--cache-dir", str(tmp_path / "cache"), "--config-file", "", str(program)),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    lines = {int(line) for line in re.findall(r"program\.py:(\d+): error:", checked.stdout)}
    assert sorted(lines) == typo_lines(), checked.stdout
