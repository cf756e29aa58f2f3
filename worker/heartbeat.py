"""Whether this worker takes requests, told to whoever watches its container: a file that is touched while it does.

`python -m worker.heartbeat` is the other end: exit code 0 if the file of AUTH_HEARTBEAT_FILE was touched a moment ago.
A check through the broker would be answered by any worker of the lane.
"""

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
#: Some beats may be missed: on a busy machine, or while the connection to the broker is made anew.
FRESH_SECONDS = 15.0


async def beat_forever(path: Path, takes_requests: asyncio.Event) -> None:
    """Touches the file every two seconds, but not while `takes_requests` is clear."""
    while True:
        await takes_requests.wait()
        try:
            path.touch()  # noqa: ASYNC240 - in memory, or as quick as that
        except OSError as error:  # whoever watches will notice; requests are served all the same
            log.error("heartbeat cannot be written", extra={"path": str(path), "error": error.strerror})  # noqa: TRY400 - the traceback says nothing more
        await asyncio.sleep(BEAT_SECONDS)


def fresh(path: Path) -> bool:
    """Whether it was touched within the last `FRESH_SECONDS`."""
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
