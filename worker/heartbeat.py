"""The heartbeat file: a worker touches it while it takes requests, and a container's health check reads it.

`python -m worker.heartbeat` is that check. It exits with 0 if AUTH_HEARTBEAT_FILE was touched
within the last seconds. A check through the broker would not do: any worker of the lane could
reply.
"""

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
#: Allows for missed beats on a busy machine or while the worker reconnects to the broker.
FRESH_SECONDS = 15.0


async def beat_forever(path: Path, takes_requests: asyncio.Event) -> None:
    """Touch the file every two seconds while `takes_requests` is set."""
    while True:
        await takes_requests.wait()
        try:
            path.touch()  # noqa: ASYNC240 - as fast as memory
        except OSError as error:  # the health check fails then; requests are still served
            log.error("heartbeat cannot be written", extra={"path": str(path), "error": error.strerror})  # noqa: TRY400 - the traceback adds nothing
        await asyncio.sleep(BEAT_SECONDS)


def fresh(path: Path) -> bool:
    """Return whether the file was touched within the last `FRESH_SECONDS`."""
    try:
        return time.time() - path.stat().st_mtime < FRESH_SECONDS
    except OSError:
        return False


def main() -> None:
    path = os.environ.get("AUTH_HEARTBEAT_FILE")
    if not path:
        sys.exit("AUTH_HEARTBEAT_FILE is not set")
    if not fresh(Path(path)):
        sys.exit(f"takes no requests: {path} was not touched within {FRESH_SECONDS:.0f} seconds")


if __name__ == "__main__":
    main()
