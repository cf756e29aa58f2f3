"""`python -m dev run`: run the local stack in the foreground until Ctrl-C or SIGTERM."""

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Final

from dev.processes import StackError
from dev.stack import LocalStack
from shared.amqp.connection import broker_url

#: Ctrl-C, `kill`, and, without `nohup`, a closed terminal.
STOP_SIGNALS: Final = [signal.SIGINT, signal.SIGTERM]
if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
    STOP_SIGNALS.append(signal.SIGHUP)


AMQP_PORTS: Final = {"amqp": 5672, "amqps": 5671}
HOST: Final = r"(?:[\w.-]+|\[[\da-fA-F:]+\])(?::\d+)?"
#: Group 1 is the hosts of a MongoDB URL, without user and password.
DATABASE_HOSTS: Final = re.compile(rf"mongodb(?:\+srv)?://(?:[^@/]*@)?({HOST}(?:,{HOST})*)(?:[/?]|$)")


async def run(directory: Path, port: int) -> None:
    """Run the stack until a signal stops it. Raises `StackError` if it does not start or a process ends."""
    _cancel_on_signal()
    _say(f"Starting Jincor Auth in {directory}")
    amqp_url, mongo_url = os.environ.get("AMQP_URL"), os.environ.get("MONGO_URL")
    # Said first, because a variable that was left in the environment may name a server that no longer runs.
    if amqp_url:
        _say(f"  using AMQP_URL from the environment: {_broker_hosts(amqp_url)}")
    if mongo_url:
        _say(f"  using MONGO_URL from the environment: {_database_hosts(mongo_url)}")
    stack = LocalStack(directory, port, amqp_url=amqp_url, mongo_url=mongo_url, say=_say)
    try:
        async with stack:
            _say(_first_steps(stack.url, directory))
            await stack.watch()
    except asyncio.CancelledError:
        # A requested stop is a success. The stack has already stopped here.
        _say("Stopped.")


def _broker_hosts(urls: str) -> str:
    """Return hosts and ports of addresses that are separated by commas. Raises `StackError` if one is malformed."""
    try:
        parsed = [broker_url(url.strip()) for url in urls.split(",")]
    except ValueError as error:
        raise StackError(f"AMQP_URL: {error}; unset it to start a private RabbitMQ") from None
    return "host " + ", ".join(f"{url.host}:{url.port or AMQP_PORTS[url.scheme]}" for url in parsed)


def _database_hosts(url: str) -> str:
    """Return the hosts of a MongoDB URL. Raises `StackError` if it is malformed."""
    found = DATABASE_HOSTS.match(url)
    if not found:
        raise StackError(
            "MONGO_URL: must look like mongodb://user:password@host:27017/database, percent-encoded; "
            "unset it to start a private database"
        )
    return f"host {found[1]}"


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
