"""`python -m dev run|demo`: the local stack in this terminal, or a tour of the one that runs in another.

AUTH_RUN_DIR is where it keeps its data (default `.run`), AUTH_PORT where the edge listens (default 8000);
AMQP_URL and MONGO_URL name a broker and a database of yours to be used instead of its own.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from dev.demo import demo
from dev.processes import StackError
from dev.run import run


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dev", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["run", "demo"])
    command = parser.parse_args().command
    directory = Path(os.environ.get("AUTH_RUN_DIR", ".run"))
    try:
        if command == "run":
            asyncio.run(run(directory, _port()))
        else:
            asyncio.run(demo(directory))
    except StackError as error:
        sys.exit(f"{command}: {error}")


def _port() -> int:
    port = os.environ.get("AUTH_PORT", "8000")
    if not port.isdecimal():
        raise StackError(f"AUTH_PORT must be a number, not {port!r}")
    return int(port)


main()
