"""`python -m worker.import_users --tenant shop@example.com FILE`: brings in users who exist elsewhere.

A composition root of its own: of a worker's world it needs the database alone.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from pydantic import TypeAdapter, ValidationError

from shared.contracts.errors import TenantNotFound, Unavailable
from shared.contracts.wire import TenantEmail
from shared.process.environment import EX_UNAVAILABLE, load_settings
from shared.process.logging import configure
from worker.adapters import mongo_database
from worker.adapters.argon2_hasher import MAX_PROFILES, hash_profile
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.adapters.system_clock import SystemClock
from worker.importing.importer import Accepted, AlreadyExists, Imported, Refused, read, store
from worker.settings import ImportSettings

STDIN = "-"
AGAIN = "run it again: who is there already is passed over"
#: As shells have it for what SIGINT has ended.
INTERRUPTED = 130


class Report:
    """Tells of each line what is certain, by its number alone, and at the end of all of them."""

    def __init__(self) -> None:
        self._counts: Counter[type] = Counter()
        self._ways: set[str] = set()

    @property
    def exit_code(self) -> int:
        return 1 if self._counts[Refused] else 0

    def tell(self, line: Accepted | Refused) -> None:
        self._counts[type(line)] += 1
        if isinstance(line, Refused):
            complain(f"line {line.number}: {line.problem}")
            return
        self._ways.add(hash_profile(line.user.password_hash.get_secret_value()))
        if isinstance(line, AlreadyExists):
            say(f"line {line.number}: login: is there already")

    def sum_up(self, kinds: Sequence[tuple[type, str]]) -> None:
        say(", ".join(f"{self._counts[kind]} {name}" for kind, name in kinds))
        if len(self._ways) >= MAX_PROFILES:
            # One is that of the hashes which are made here.
            say(
                f"these hashes were made in {len(self._ways)} ways: beyond {MAX_PROFILES - 1}, the time of a refused login "
                "tells who has which (docs/security.md)"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m worker.import_users",
        description="Brings in users who exist elsewhere, with the hashes of their passwords. MONGO_URL names the "
        "database, as for a worker. Who is there already stays as they are, so it may be run again.",
    )
    parser.add_argument("--tenant", required=True, type=_email, metavar="EMAIL", help="whose users they become")
    parser.add_argument("--check", action="store_true", help="only say which lines would be refused; no database")
    parser.add_argument("file", metavar="FILE", help="a user a line, as JSON; - is the standard input")
    arguments = parser.parse_args()
    # At once, and not at the next turn of the event loop, which waits for the next line.
    signal.signal(signal.SIGINT, _interrupt)
    # Everything there is to say is said in words of our own.
    configure("import", "critical", "console")
    report = Report()
    with contextlib.ExitStack() as stack:
        try:
            file = sys.stdin.buffer if arguments.file == STDIN else stack.enter_context(Path(arguments.file).open("rb"))
        except OSError as error:
            parser.error(f"FILE: {error.strerror}")
        try:
            raise SystemExit(_check(file, report) if arguments.check else _import(file, arguments.tenant, report))
        except KeyboardInterrupt:
            complain(f"interrupted; {AGAIN}")
            raise SystemExit(INTERRUPTED) from None


def _check(file: BinaryIO, report: Report) -> int:
    for line in read(file):
        report.tell(line)
    report.sum_up([(Accepted, "to import"), (Refused, "refused")])
    return report.exit_code


def _import(file: BinaryIO, tenant: str, report: Report) -> int:
    settings = load_settings(ImportSettings, ["MONGO_URL"])
    try:
        return asyncio.run(import_users(file, tenant, settings, report))
    finally:
        report.sum_up([(Imported, "imported"), (AlreadyExists, "there already"), (Refused, "refused")])


async def import_users(file: BinaryIO, tenant_email: str, settings: ImportSettings, report: Report) -> int:
    """The exit code. Reads the file on the event loop: nothing else waits for it."""
    async with mongo_database.connect(settings.mongo_url.get_secret_value()) as database:
        if problems := await database.problems():
            complain(*(f"database: {problem}" for problem in problems))
            return EX_UNAVAILABLE
        try:
            # Its indexes see to it that a login is one user's, also where no worker was started yet.
            await database.prepare()
            tenants = MongoTenants(database)
            tenant = await tenants.find_by_email(tenant_email)
            if tenant is None:
                complain("--tenant: no tenant has this email")
                return 1
            async for line in store(read(file), tenant.id, tenants, MongoUsers(database), SystemClock()):
                report.tell(line)
        except Unavailable:
            complain(f"database: is away; {AGAIN}")
            return EX_UNAVAILABLE
        except TenantNotFound:
            complain("--tenant: was deleted meanwhile, with all users")
            return 1
    return report.exit_code


def say(text: str) -> None:
    print(text)  # noqa: T201 - it talks to a person at a terminal


def complain(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr)  # noqa: T201 - as above


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _email(text: str) -> str:
    try:
        return TypeAdapter(TenantEmail).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError("must be an email address: name@domain") from None


if __name__ == "__main__":
    main()
