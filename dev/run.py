"""`python -m dev run`: run the local stack in the foreground until Ctrl-C or SIGTERM."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

from dev.stack import LocalStack

#: Ctrl-C, `kill`, and, without `nohup`, a closed terminal.
STOP_SIGNALS: Final = [signal.SIGINT, signal.SIGTERM]
if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
    STOP_SIGNALS.append(signal.SIGHUP)


async def run(directory: Path, port: int) -> None:
    """Run the stack until a signal stops it. Raises `StackError` if it does not start or a process ends."""
    _cancel_on_signal()
    _say(f"Starting Jincor Auth in {directory}")
    stack = LocalStack(
        directory, port, amqp_url=os.environ.get("AMQP_URL"), mongo_url=os.environ.get("MONGO_URL"), say=_say
    )
    try:
        async with stack:
            _say(_first_steps(stack.url, directory))
            await stack.watch()
    except asyncio.CancelledError:
        # A requested stop is a success. The stack has already stopped here.
        _say("Stopped.")


def _cancel_on_signal() -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def stop() -> None:
        for number in STOP_SIGNALS:
            # A second Ctrl-C must not interrupt the ordered stop, which has its own time limits.
            loop.add_signal_handler(number, lambda: None)
        if task is not None:
            task.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)


def _first_steps(url: str, directory: Path) -> str:
    """Return commands to paste. The tenant's email contains the time, so the commands can be repeated."""
    json = "-H 'Content-Type: application/json'"
    bearer = '-H "Authorization: Bearer $TOKEN"'
    tenant = """{"email":"me+'$(date +%s)'@example.com","password":"correct horse battery"}"""
    user = '"login":"ann","password":"correct horse battery"'
    keep = r"""tee /dev/stderr | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p'"""
    return f"""
Jincor Auth is ready at {url} (API documentation: {url}/docs); logs: {directory}/logs
Register a tenant, create a user, log the user in:

TOKEN=$(curl -s {url}/tenant {json} -d '{tenant}' | {keep}); echo
curl -s {url}/user {bearer} {json} -d '{{"email":"ann@example.com",{user},"sub":"1","scope":"all"}}'; echo
curl -s {url}/auth {bearer} {json} -d '{{{user},"deviceId":"laptop"}}'; echo

`make demo` in a second terminal shows more of the API. Ctrl-C stops everything.
"""


def _say(text: str) -> None:
    print(text, flush=True)
