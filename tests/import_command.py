"""The worker's commands about users, as processes with a minimal environment."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass

#: Ends a test that would otherwise wait forever.
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Ended:
    """The exit code and the output lines of a run."""

    code: int | None
    out: list[str]
    err: list[str]


async def start_command(module: str, *arguments: str, mongo_url: str | None = None) -> Process:
    own_prefixes = ("AUTH_", "AMQP_URL", "MONGO_URL")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own_prefixes)}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env=environment | ({"MONGO_URL": mongo_url} if mongo_url else {}),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )


async def start_import(*arguments: str, mongo_url: str | None = None) -> Process:
    return await start_command("worker.import_users", *arguments, mongo_url=mongo_url)


async def run_import(*arguments: str, text: bytes = b"", mongo_url: str | None = None) -> Ended:
    return await ended(await start_import(*arguments, mongo_url=mongo_url), text)


async def ended(process: Process, text: bytes = b"") -> Ended:
    async with asyncio.timeout(PATIENCE_SECONDS):
        out, err = await process.communicate(text)
    return Ended(process.returncode, out.decode().splitlines(), err.decode().splitlines())
