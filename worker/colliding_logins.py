"""`python -m worker.colliding_logins`: lists logins that nobody could create today, and which look like another.

A composition root of its own: of a worker's world it needs the database alone, and only reads.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from shared.contracts import names
from shared.contracts.errors import Unavailable
from shared.contracts.wire import NewLogin
from shared.process.environment import EX_UNAVAILABLE, load_settings
from shared.process.logging import configure
from worker.adapters import mongo_database
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.ports import Tenants, Users
from worker.settings import ImportSettings

#: Read at a time: the database answers long before a worker's patience with it is over.
PAGE = 1_000
NOT_NORMAL = "is not in Unicode form NFC"
#: As shells have it for what SIGINT has ended.
INTERRUPTED = 130
_NEW_LOGIN = TypeAdapter[str](NewLogin)


@dataclass(frozen=True, slots=True)
class Listed:
    """A login that cannot be created today."""

    tenant: str
    """The tenant's email."""
    login: str
    problem: str
    """The rule for new logins that it breaks."""
    looks_like: str
    """What is displayed of it."""
    collides: bool
    """Whether another login of the tenant looks like that, too."""

    def to_line(self) -> str:
        """One line of JSON. Everything beyond ASCII is escaped in it, so that it shows what a display does not."""
        return json.dumps(
            {
                "tenant": self.tenant,
                "login": self.login,
                "problem": self.problem,
                "looksLike": self.looks_like,
                "collides": self.collides,
            }
        )


async def listed(tenants: Tenants, users: Users) -> AsyncIterator[Listed]:
    """Yield all such logins, tenant by tenant. Holds those of one tenant in memory, and no others."""
    after = ""
    while page := await tenants.page(after, PAGE):
        for tenant in page:
            odd = await _odd(tenant.id, users)
            alike = Counter(map(names.displayed_form, odd))
            usual = await _usual(tenant.id, sorted(alike), users)
            for login, problem in odd.items():
                look = names.displayed_form(login)
                others = alike[look] - 1 + (look in usual and look not in odd)
                yield Listed(tenant.email, login, problem, look, others > 0)
        after = page[-1].email


async def _odd(tenant: str, users: Users) -> dict[str, str]:
    """The tenant's logins that cannot be created today, each with the rule that it breaks."""
    odd = {}
    after = ""
    while page := await users.logins(tenant, after, PAGE):
        for login in page:
            if problem := problem_of(login):
                odd[login] = problem
        after = page[-1]
    return odd


async def _usual(tenant: str, looks: Sequence[str], users: Users) -> set[str]:
    """Which of these are the logins of accounts."""
    found: set[str] = set()
    for start in range(0, len(looks), PAGE):
        found |= await users.spelled(tenant, looks[start : start + PAGE])
    return found


def problem_of(login: str) -> str | None:
    """Return the rule for new logins that this one breaks, or None if an account could be created as it is."""
    try:
        normal = _NEW_LOGIN.validate_python(login)
    except ValidationError as error:
        return str(error.errors(include_input=False, include_url=False)[0]["msg"]).removeprefix("Value error, ")
    return None if normal == login else NOT_NORMAL


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m worker.colliding_logins",
        description="Lists logins that nobody could create today, each as a line of JSON, and which of them look like "
        "another login of their tenant. MONGO_URL names the database, as for a worker. It changes nothing.",
    )
    parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Everything there is to say is said in words of our own.
    configure("colliding-logins", "critical", "console")
    settings = load_settings(ImportSettings, ["MONGO_URL"])
    try:
        raise SystemExit(asyncio.run(list_logins(settings)))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


async def list_logins(settings: ImportSettings) -> int:
    """Return the exit code: 0 if there is no such login, 1 if there is."""
    found = Counter[bool]()
    async with mongo_database.connect(settings.mongo_url.get_secret_value()) as database:
        if problems := await database.problems():
            complain(*(f"database: {problem}" for problem in problems))
            return EX_UNAVAILABLE
        try:
            async for each in listed(MongoTenants(database), MongoUsers(database)):
                found[each.collides] += 1
                print(each.to_line())  # noqa: T201 - it talks to a person at a terminal
        except Unavailable:
            complain("database: is away; run it again")
            return EX_UNAVAILABLE
    complain(f"{found.total()} logins could not be created today, {found[True]} of them look like another")
    return 1 if found else 0


def complain(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
