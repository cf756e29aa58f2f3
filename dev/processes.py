"""Processes of the local stack: `Service` describes one, `ChildProcess` runs it.

It uses `subprocess.Popen` and polling. asyncio's subprocesses belong to the event loop that started them,
but a test that kills a broker runs in another loop than the fixture that started the broker.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent

#: Set in the environment of every child, to detect that another process reuses a recorded pid.
OWNER_VARIABLE: Final = "JINCOR_AUTH_DEV_LOG"

#: Short enough not to delay a start noticeably, long enough to cost no CPU.
POLL_SECONDS: Final = 0.05


class StackError(Exception):
    """An error that the user can fix. Only its text is printed, without a traceback."""


@dataclass(frozen=True)
class Service:
    """A program and how to start it. `env` is the complete environment: nothing is inherited."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    directory: Path = REPOSITORY
    """Working directory, and so the copy of this repository that `python -m` finds."""


class ChildProcess:
    """A service as a child of this process. `start` can be called again after it has ended.

    - The child has its own session, so Ctrl-C in the terminal does not reach it before the ordered stop does.
    - Its output is appended to `<log_directory>/<name>.log`.
    - On Linux the kernel kills the child when the *thread* that called `start` ends for any reason. Call
      `start` from a thread that lives at least as long as the child.
    """

    def __init__(self, service: Service, log_directory: Path) -> None:
        self.service = service
        self.log_path = log_directory.absolute() / f"{service.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def pid(self) -> int:
        """Process id, also after the process has ended. Raises `StackError` before the first start."""
        if self._process is None:
            raise StackError(f"{self.name} was never started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, or the negative number of the signal that ended it. None while it runs or before a start."""
        return None if self._process is None else self._process.poll()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and return at once. Raises `StackError` if the program is not installed."""
        if self.running:
            raise StackError(f"{self.name} is already running")
        program = self.service.argv[0]
        if shutil.which(program, path=self.service.env.get("PATH")) is None:
            raise StackError(f"{self.name}: {program} is not installed")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [*_tether(), *self.service.argv],
                env={**self.service.env, OWNER_VARIABLE: str(self.log_path)},
                cwd=self.service.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def wait_until(self, ready: Callable[[], Awaitable[bool]], timeout_seconds: float) -> None:
        """Wait until `ready` returns true. Raises `StackError` if the process ends or the time is up first."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not await ready():
                    self.raise_if_ended()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise StackError(f"{self.name} is not ready after {timeout_seconds:g} s; {self._last_words()}") from None

    async def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        while (exit_code := self.exit_code) is None:  # noqa: ASYNC110 (the module's docstring says why)
            await asyncio.sleep(POLL_SECONDS)
        return exit_code

    async def terminate(self, grace_seconds: float = 15) -> int | None:
        """Send SIGTERM, after `grace_seconds` SIGKILL, and return the exit code (None if it was never started)."""
        if not self.running:
            return self.exit_code
        os.kill(self.pid, signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), grace_seconds)
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int | None:
        """Send SIGKILL to the process group and return the exit code (None if it was never started)."""
        if not self.running:
            return self.exit_code
        os.killpg(self.pid, signal.SIGKILL)
        return await self.wait()

    def raise_if_ended(self) -> None:
        """Raise `StackError` with the exit code and the end of the log if the process has ended."""
        if self.exit_code is not None:
            raise StackError(f"{self.name} ended with exit code {self.exit_code}; {self._last_words()}")

    def tail(self, lines: int = 40) -> str:
        """Return the last lines that it logged since its last start."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def _last_words(self) -> str:
        return f"the end of {self.log_path}:\n{self.tail()}"


async def kill_leftover(pid: int, log_path: Path) -> bool:
    """Kill a child that outlived its stack and wait for its end. Return False if `pid` is not that child.

    The pid may have been reused, so the process must have the absolute path of the child's log in its
    environment. Only Linux exposes that environment.
    """
    marker = os.fsencode(f"{OWNER_VARIABLE}={log_path}")

    def is_ours() -> bool:
        try:
            return marker in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    if not is_ours():
        return False
    os.kill(pid, signal.SIGKILL)
    while is_ours():  # noqa: ASYNC110 (only a parent can wait for a process; others must poll)
        await asyncio.sleep(POLL_SECONDS)
    return True


def _tether() -> list[str]:
    """Return the command prefix that makes the kernel kill the child with its parent (Linux only)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
