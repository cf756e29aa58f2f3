"""`python -m worker.indexes`: creates the indexes that workers need.

A separate composition root: it needs only the database, and a user that may create indexes.
"""

import argparse
import asyncio
import signal
import sys

from pymongo.errors import ConnectionFailure, DuplicateKeyError, OperationFailure, PyMongoError

from shared.process.environment import EX_UNAVAILABLE, load_settings
from shared.process.logging import configure
from worker.adapters import mongo_database
from worker.adapters.mongo_indexes import create_indexes
from worker.settings import ImportSettings

AGAIN = "run the command again: it waits for builds that are in progress"
#: The exit code that shells use after SIGINT.
INTERRUPTED = 130


def main() -> None:
    argparse.ArgumentParser(
        prog="python -m worker.indexes",
        description="Creates the missing indexes, and waits until they are built. MONGO_URL is the database, with a "
        "user that may create indexes. Run it before the first start and before workers of a new version.",
    ).parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # This command prints its own messages, so library logs are silenced.
    configure("indexes", "critical", "console")
    settings = load_settings(ImportSettings, ["MONGO_URL"])
    try:
        raise SystemExit(asyncio.run(run(settings)))
    except KeyboardInterrupt:
        print_line(f"interrupted; {AGAIN}")
        raise SystemExit(INTERRUPTED) from None


async def run(settings: ImportSettings) -> int:
    """Create the missing indexes. Return the exit code."""
    # Without a socket timeout: the answer comes when the indexes are built, which may take hours.
    url = settings.mongo_url.get_secret_value()
    async with mongo_database.connect(url, socket_timeout_ms=None, driver=settings.mongo_driver) as database:
        try:
            if conflicts := await database.index_conflicts():
                print_line(*conflicts)
                return 1
            created = await create_indexes(database, lambda name: print_line(f"{name}: an index is being built"))
        except DuplicateKeyError as error:  # its text quotes a document's key
            index = (error.details or {}).get("keyPattern")
            print_line(f"documents contradict a unique index: {sorted(index or ())}; nothing was created for it")
            return 1
        except (ConnectionFailure, OperationFailure) as error:
            print_line(mongo_database.explained(error), AGAIN)
            return EX_UNAVAILABLE
        except PyMongoError as error:
            print_line(f"failed: {type(error).__name__}", AGAIN)
            return EX_UNAVAILABLE
    print_line(*(f"created {name}" for name in created), "all indexes exist")
    return 0


def print_line(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)  # noqa: T201 - output of a command


if __name__ == "__main__":
    main()
