"""`python -m worker.import_users --tenant shop@example.com FILE`: imports users of another system.

A separate composition root: it needs only the database.
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
from worker.adapters.mongo_attempts import MongoAttempts
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.adapters.system_clock import SystemClock
from worker.command import INTERRUPTED, print_error
from worker.importing.importer import Accepted, AlreadyExists, Imported, Refused, read, store
from worker.settings import ImportSettings

STDIN = "-"
AGAIN = "run the command again: users that exist already are skipped"


class Report:
    """Prints the outcome of each line by its number, and the totals at the end."""

    def __init__(self) -> None:
        self._counts: Counter[type] = Counter()
        self._profiles: set[str] = set()

    @property
    def exit_code(self) -> int:
        return 1 if self._counts[Refused] else 0

    def add(self, line: Accepted | Refused) -> None:
        self._counts[type(line)] += 1
        if isinstance(line, Refused):
            print_error(f"line {line.number}: {line.problem}")
            return
        self._profiles.add(hash_profile(line.user.password_hash.get_secret_value()))
        if isinstance(line, AlreadyExists):
            print_line(f"line {line.number}: login: is there already")

    def print_totals(self, kinds: Sequence[tuple[type, str]]) -> None:
        print_line(", ".join(f"{self._counts[kind]} {name}" for kind, name in kinds))
        if len(self._profiles) >= MAX_PROFILES:
            # One of the profiles is that of the hashes made by this service.
            print_line(
                f"these hashes have {len(self._profiles)} different parameter sets: with more than {MAX_PROFILES - 1}, "
                "the time of a refused login shows which set an account has (docs/security.md)"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m worker.import_users",
        description="Imports users of another system, with their password hashes. MONGO_URL is the database, as for a "
        "worker. Existing users are not changed, so the command may be run again.",
    )
    parser.add_argument("--tenant", required=True, type=_email, metavar="EMAIL", help="the tenant that gets the users")
    parser.add_argument("--check", action="store_true", help="only report refused lines; needs no database")
    parser.add_argument("file", metavar="FILE", help="one user per line, as JSON; - reads standard input")
    arguments = parser.parse_args()
    # Interrupts at once: asyncio's handler would run only after the next line is read.
    signal.signal(signal.SIGINT, _interrupt)
    # This command prints its own messages, so library logs are silenced.
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
            print_error(f"interrupted; {AGAIN}")
            raise SystemExit(INTERRUPTED) from None


def _check(file: BinaryIO, report: Report) -> int:
    for line in read(file):
        report.add(line)
    report.print_totals([(Accepted, "to import"), (Refused, "refused")])
    return report.exit_code


def _import(file: BinaryIO, tenant: str, report: Report) -> int:
    settings = load_settings(ImportSettings, ["MONGO_URL"])
    try:
        return asyncio.run(import_users(file, tenant, settings, report))
    finally:
        report.print_totals([(Imported, "imported"), (AlreadyExists, "there already"), (Refused, "refused")])


async def import_users(file: BinaryIO, tenant_email: str, settings: ImportSettings, report: Report) -> int:
    """Import the users. Return the exit code. Reads the file on the event loop, where no other task is delayed."""
    url = settings.mongo_url.get_secret_value()
    async with mongo_database.connect(url, driver=settings.mongo_driver) as database:
        if problems := await database.problems():
            print_error(*(f"database: {problem}" for problem in problems))
            return EX_UNAVAILABLE
        try:
            tenants = MongoTenants(database)
            tenant = await tenants.find_by_email(tenant_email)
            if tenant is None:
                print_error("--tenant: no tenant has this email")
                return 1
            users, attempts = MongoUsers(database), MongoAttempts(database)
            async for line in store(read(file), tenant.id, tenants, users, attempts=attempts, clock=SystemClock()):
                report.add(line)
        except Unavailable:
            print_error(f"database: is unavailable; {AGAIN}")
            return EX_UNAVAILABLE
        except TenantNotFound:
            print_error("--tenant: the tenant was deleted during the import, with all its users")
            return 1
    return report.exit_code


def print_line(text: str) -> None:
    print(text)  # noqa: T201 - output of a command


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _email(text: str) -> str:
    try:
        return TypeAdapter(TenantEmail).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError("must be an email address: name@domain") from None


if __name__ == "__main__":
    main()
