"""docs/guide.md, run in a shell as it is written."""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from dev.ports import free_port
from dev.processes import REPOSITORY, ChildProcess, Service
from tests.e2e.client.installation import Installation
from tests.service import RunningService

TIMEOUT_SECONDS = 120
#: Blocks that the fixtures replace; tests/integration/test_make_run.py tests `make run`.
DONE = ("make run\n", "python3 -m venv ")


async def test_guide_pasted_at_once_prints_what_it_shows(
    with_fastapi: Installation, service: RunningService, tmp_path: Path
) -> None:
    """Each block for a shell runs right after the one before, and waits by itself for what it starts."""
    if not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("the guide is for bash and curl")
    (tmp_path / ".run").mkdir()
    (tmp_path / ".run/notes").symlink_to(with_fastapi.bin.parent)
    (tmp_path / ".run/stack.json").write_text(json.dumps({"amqp_url": service.amqp_url}))
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")

    shell = ChildProcess(Service("guide", ["bash", str(tmp_path / "guide.sh")], os.environ), tmp_path)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", (REPOSITORY / "docs/guide.md").read_text(), re.MULTILINE | re.DOTALL)
    script, shown = f"set -eu; trap 'kill $(jobs -p)' EXIT; cd {tmp_path}\n", []
    for kind, block in blocks:
        if kind == "text":
            shown += block.splitlines()
        elif kind == "python":
            (tmp_path / "hello.py").write_text(block)
        elif not block.startswith(DONE):
            script += block
    for port, used in {"8000": service.urls[0].rpartition(":")[2], "8080": free_port(), "8081": free_port()}.items():
        script = script.replace(f"127.0.0.1:{port}", f"127.0.0.1:{used}").replace(f"--port {port}", f"--port {used}")
    (tmp_path / "guide.sh").write_text(script)

    shell.start()
    try:
        await asyncio.wait_for(shell.wait(), TIMEOUT_SECONDS)
    except TimeoutError:
        await shell.kill()
    output = shell.log_path.read_text()
    assert shell.exit_code == 0, output
    assert "Traceback" not in output
    pattern = ".*".join(re.escape(line).replace("…", "[^\n]*") for line in shown)
    assert re.search(pattern, output, re.DOTALL), output
