"""The README's `curl` lines against a running edge."""

import asyncio
import json
import re
import shutil
import subprocess

import pytest

from dev.processes import REPOSITORY
from tests.service import RunningService

README = REPOSITORY / "README.md"


async def test_readme_commands_entered_twice_log_a_user_in_each_time(service: RunningService) -> None:
    if not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("the README is for bash and curl")
    (block,) = re.findall(r"^docker compose up.*?\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    script = "set -eu\n" + block.replace("http://127.0.0.1:8000", service.urls[0])
    for _ in range(2):
        done = await asyncio.to_thread(
            subprocess.run, ["bash", "-c", script], capture_output=True, text=True, check=True
        )
        _, end = json.JSONDecoder().raw_decode(done.stdout)  # the user; the login follows
        assert json.loads(done.stdout[end:]).keys() == {"accessToken"}, done.stdout
        await asyncio.sleep(1)  # the email of the next tenant holds the time in seconds
