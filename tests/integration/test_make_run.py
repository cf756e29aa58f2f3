"""`make run` for a newcomer: start, pasted commands, demo, stop and a second start."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from dev.ports import free_port
from dev.processes import REPOSITORY, ChildProcess, Service
from tests.backends import Backend

#: The docs promise two minutes with the installation, which is not tested here.
START_TIMEOUT_SECONDS = 90
STOP_TIMEOUT_SECONDS = 60


class Terminal:
    """A directory and a port for one stack, and the commands that are entered."""

    def __init__(self, directory: Path) -> None:
        self.run_directory = directory / "run"
        self._directory = directory
        #: Without a developer's own broker and database.
        inherited = {name: value for name, value in os.environ.items() if name not in {"AMQP_URL", "MONGO_URL"}}
        self.env = {**inherited, "AUTH_RUN_DIR": str(self.run_directory), "AUTH_PORT": str(free_port())}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Run `python -m dev run`, yield its output, stop it with SIGTERM, and check that no process is left."""
        stack = ChildProcess(Service("run", [sys.executable, "-m", "dev", "run"], self.env), self._directory)

        async def has_printed_everything() -> bool:
            return "Ctrl-C stops everything" in stack.tail()

        stack.start()
        try:
            await stack.wait_until(has_printed_everything, START_TIMEOUT_SECONDS)
            pids = self.state()["processes"].values()
            assert all(_runs(pid) for pid in pids)
            yield stack.tail()
        finally:
            exit_code = await stack.terminate(STOP_TIMEOUT_SECONDS)
        assert exit_code == 0, stack.tail()
        assert not any(_runs(pid) for pid in pids)
        assert not self._left_behind()
        assert not (self.run_directory / "stack.json").exists()

    def state(self) -> dict[str, dict[str, int]]:
        state: dict[str, dict[str, int]] = json.loads((self.run_directory / "stack.json").read_text())
        return state

    async def enter(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run,
            command,
            input=text,
            env=self.env,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=STOP_TIMEOUT_SECONDS,
            check=False,
        )

    def _left_behind(self) -> list[str]:
        """Return processes with this stack's environment, whatever their parent (Linux only)."""
        needle = os.fsencode(str(self.run_directory))
        return [process.name for process in Path("/proc").glob("[0-9]*") if needle in _environment_of(process)]


async def test_make_run_prints_working_commands_and_keeps_data_over_a_restart(backend: Backend, tmp_path: Path) -> None:
    """The test also runs the demo and checks that SIGTERM ends every process."""
    if backend.kind != "local":
        pytest.skip("starts a local stack, for which containers bring no broker")
    if not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("the printed lines are for bash and curl")
    terminal = Terminal(tmp_path)

    async with terminal.running() as printed:
        lines = [line for line in printed.splitlines() if "curl" in line]
        assert len(lines) == 3
        pasted = await terminal.enter("bash", text="\n".join(lines) + "\n")
        registered = json.loads(pasted.stderr)
        created, logged_in = (json.loads(line) for line in pasted.stdout.splitlines() if line)
        assert registered.keys() == {"id", "email", "login", "token"}
        assert (created["login"], created["tenant"], created["scope"]) == ("ann", registered["id"], "all")
        assert logged_in.keys() == {"accessToken"}

        state = terminal.state()
        assert state.keys() == {"url", "amqp_url", "mongo_url", "processes"}
        assert state["processes"].keys() == {"api", "worker-verify", "worker-password", "rabbitmq", "mongo"}
        assert str(state["url"]).endswith(f":{terminal.env['AUTH_PORT']}")

        demo = await terminal.enter(sys.executable, "-m", "dev", "demo")
        assert demo.returncode == 0, demo.stdout + demo.stderr
        assert demo.stdout.count("session.revoked") >= 2

    async with (
        terminal.running(),
        httpx.AsyncClient(
            base_url=str(state["url"]), headers={"Authorization": f"Bearer {registered['token']}"}, timeout=30
        ) as http,
    ):
        body = {"login": "ann", "password": "correct horse battery", "deviceId": "tomorrow"}
        assert (await http.post("/auth", json=body)).status_code == 200
        verified = await http.post("/auth/verify", json={"token": logged_in["accessToken"]})
        assert verified.json()["decoded"]["login"] == "ann"


async def test_commands_for_operators_make_two_and_limit_the_second(backend: Backend, tmp_path: Path) -> None:
    """The commands of docs/permissions.md, on a stack that starts with the setting."""
    if backend.kind != "local":
        pytest.skip("starts a local stack, for which containers bring no broker")
    if not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("the page is for bash and curl")
    section = (REPOSITORY / "docs/permissions.md").read_text().partition("\n## Operators\n")[2]
    start, first, second = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    setting = start.removesuffix(" make run\n")
    terminal = Terminal(tmp_path)
    terminal.env.update([setting.split("="), ("AUTH_PASSWORD_NICE", "0")])  # hashes also on a busy machine

    script = "\n".join(("set -euo pipefail", first, "echo", second, 'echo; echo "$OLGA $BEN"'))
    script = script.replace(".venv/bin/python", sys.executable).replace(".run/", f"{terminal.run_directory}/")
    async with terminal.running():
        pasted = await terminal.enter("bash", text=script)
        assert pasted.returncode == 0, pasted.stderr
        tenants, *_, tokens = pasted.stdout.splitlines()
        assert [tenant["id"] for tenant in json.loads(tenants)["tenants"]] == ["operators"]
        olga, ben = ({"Authorization": f"Bearer {token}"} for token in tokens.split())
        async with httpx.AsyncClient(base_url=str(terminal.state()["url"]), timeout=30) as http:
            assert (await http.get("/tenants", headers=ben)).status_code == 401, "the new password ends his sessions"
            listed = (await http.get("/operators", headers=olga)).json()["operators"]
            assert listed[0]["permissions"] == ["tenants:read", "users:read"]
            trail = await http.get("/audit", headers={**olga, "X-Tenant-ID": "operators"})
            actors = {record["type"]: record["actor"] for record in trail.json()["records"]}
            assert actors["operator.update"] == "operator:olga"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _environment_of(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
