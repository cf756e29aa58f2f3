"""One tenant's storm of logins, sent directly to the broker by a process of its own.

Each attempt is for another unknown user, so that it is hashed and not throttled.
"""

import asyncio
import contextlib
import json
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field

from shared.amqp.rpc_client import RpcClient
from shared.contracts.auth_login import AUTH_LOGIN, AuthLoginRequest
from shared.contracts.errors import AuthError

#: Time for the last requests to be answered and for the process to end.
END_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Storm:
    """The input of the process, passed over standard input because it holds a token."""

    amqp_url: str
    tenant_token: str = field(repr=False)
    connections: int
    callers: int
    """The number of callers on each connection."""
    pause_seconds: float
    """The pause of a caller after each answer."""


@contextlib.asynccontextmanager
async def storming(storm: Storm) -> AsyncIterator[Counter[str]]:
    """Run the storm inside the block; afterwards the counter has the answers by code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.storm"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    answers: Counter[str] = Counter()
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(json.dumps(asdict(storm)).encode() + b"\n")
        await process.stdin.drain()
        await process.stdout.readline()  # the storm was answered
        yield answers
        output, _ = await asyncio.wait_for(process.communicate(b"enough\n"), END_SECONDS)
        answers.update(json.loads(output))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _run(storm: Storm) -> None:
    answers: Counter[str] = Counter()
    enough, begun = asyncio.Event(), asyncio.Event()

    async def call(rpc: RpcClient) -> None:
        while not enough.is_set():
            members = {"login": uuid.uuid4().hex, "password": "a wrong password", "device_id": "storm"}
            request = AuthLoginRequest.model_validate({"tenant_token": storm.tenant_token, **members})
            try:
                await rpc.call(AUTH_LOGIN, request)
            except AuthError as error:
                answers[error.code] += 1
            begun.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(enough.wait(), storm.pause_seconds)

    async with contextlib.AsyncExitStack() as connections, asyncio.TaskGroup() as tasks:
        for number in range(storm.connections):
            rpc = await connections.enter_async_context(RpcClient([storm.amqp_url], f"storm {number}"))
            await rpc.wait_connected()
            for _ in range(storm.callers):
                tasks.create_task(call(rpc))
        await begun.wait()
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        enough.set()
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    asyncio.run(_run(Storm(**json.loads(sys.stdin.readline()))))
