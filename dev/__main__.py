"""`python -m dev run` starts the local stack; `python -m dev demo` shows the API of a running one.

AUTH_RUN_DIR  directory of the stack's data (default: .run)
AUTH_PORT     port of the edge (default: 8000)
AMQP_URL      an existing broker to use instead of a private one
MONGO_URL     an existing database to use instead of a private one
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
