"""The directory of one local stack: lock, master key, logs, and `stack.json` with its URLs and pids."""

import base64
import fcntl
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from dev.processes import StackError, kill_leftover

MASTER_KEY_BYTES: Final = 32


@dataclass(frozen=True)
class StackState:
    """URLs of a running stack and the pids of its processes by name. The URLs may hold credentials."""

    url: str
    amqp_url: str
    mongo_url: str
    processes: Mapping[str, int]


class RunDirectory:
    """Directory of everything that a stack keeps between two runs. One stack at a time uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self._state_file = self.path / "stack.json"

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Lock the directory for one stack. Raises `StackError` if another stack holds the lock.

        The kernel releases the lock when the process ends, even after SIGKILL.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.path / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(
                    f"a stack is already running in {self.path}; for a second one set AUTH_RUN_DIR and AUTH_PORT"
                ) from None
            yield

    async def kill_leftovers(self) -> None:
        """Kill the processes that a killed stack left running. Call it with the directory claimed."""
        if (state := self.read_state()) is not None:
            for name, pid in state.processes.items():
                await kill_leftover(pid, self.logs / f"{name}.log")
            self.remove_state()

    def master_keys_file(self) -> Path:
        """Return the file with this stack's master key. The first call creates it, readable by its owner only."""
        file = self.path / "master-key"
        if not file.exists():
            key = base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)).decode()
            _write_private(file, f"dev1:{key}\n")
        return file

    def read_state(self) -> StackState | None:
        """Return the state of the stack that runs here, or ran here until it was killed."""
        try:
            return StackState(**json.loads(self._state_file.read_text()))
        except FileNotFoundError:
            return None

    def write_state(self, state: StackState) -> None:
        _write_private(self._state_file, json.dumps(asdict(state), indent=2) + "\n")

    def remove_state(self) -> None:
        self._state_file.unlink(missing_ok=True)


def _write_private(file: Path, text: str) -> None:
    """Write a file atomically, so that other users can read it at no moment."""
    draft = file.with_name(f"{file.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(file)
