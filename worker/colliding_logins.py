"""`python -m worker.colliding_logins`: lists logins that cannot be created today, and which of them look like another.

A separate composition root: it needs only the database, and only reads from it.
"""

import argparse
import asyncio
import json
import signal
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
from worker.command import INTERRUPTED, print_error
from worker.domain.ports import Tenants, Users
from worker.settings import ImportSettings

#: Logins read per query, so that a query takes the database much less than a worker's timeout.
PAGE = 1_000
NOT_NORMAL = "is not in Unicode form NFC"
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
    """The form in which a reader sees the login."""
    collides: bool
    """Whether another login of the tenant looks the same."""

    def to_line(self) -> str:
        """Return one line of JSON. Characters beyond ASCII are escaped, so that invisible ones show."""
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
    """Yield the logins that cannot be created today, tenant by tenant. Holds those of one tenant in memory."""
    after = ""
    while page := await tenants.page("", after, PAGE):
        for tenant in page:
            invalid = await _invalid_logins(tenant.id, users)
            alike = Counter(map(names.displayed_form, invalid))
            existing = await _existing(tenant.id, sorted(alike), users)
            for login, problem in invalid.items():
                look = names.displayed_form(login)
                others = alike[look] - 1 + (look in existing and look not in invalid)
                yield Listed(tenant.email, login, problem, look, others > 0)
        after = page[-1].email


async def _invalid_logins(tenant: str, users: Users) -> dict[str, str]:
    """Return the tenant's logins that cannot be created today, each with the rule that it breaks."""
    invalid = {}
    after = ""
    while page := await users.logins(tenant, after, PAGE):
        for login in page:
            if problem := login_problem(login):
                invalid[login] = problem
        after = page[-1]
    return invalid


async def _existing(tenant: str, looks: Sequence[str], users: Users) -> set[str]:
    """Return the texts of `looks` that are logins of the tenant's accounts."""
    found: set[str] = set()
    for start in range(0, len(looks), PAGE):
        found |= await users.spelled(tenant, looks[start : start + PAGE])
    return found


def login_problem(login: str) -> str | None:
    """Return the rule for new logins that this login breaks, or None if it could be created unchanged."""
    try:
        normal = _NEW_LOGIN.validate_python(login)
    except ValidationError as error:
        return str(error.errors(include_input=False, include_url=False)[0]["msg"]).removeprefix("Value error, ")
    return None if normal == login else NOT_NORMAL


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m worker.colliding_logins",
        description="Lists logins that cannot be created today, one line of JSON each, and states which of them look "
        "like another login of their tenant. MONGO_URL is the database, as for a worker. Changes nothing.",
    )
    parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # This command prints its own messages, so library logs are silenced.
    configure("colliding-logins", "critical", "console")
    settings = load_settings(ImportSettings, ["MONGO_URL"])
    try:
        raise SystemExit(asyncio.run(list_logins(settings)))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


async def list_logins(settings: ImportSettings) -> int:
    """Print the logins that cannot be created today. Return the exit code: 0 if there are none, 1 if there are."""
    found = Counter[bool]()
    url = settings.mongo_url.get_secret_value()
    async with mongo_database.connect(url, driver=settings.mongo_driver) as database:
        if problems := await database.problems():
            print_error(*(f"database: {problem}" for problem in problems))
            return EX_UNAVAILABLE
        try:
            async for each in listed(MongoTenants(database), MongoUsers(database)):
                found[each.collides] += 1
                print(each.to_line())  # noqa: T201 - output of a command
        except Unavailable:
            print_error("database: is unavailable; run the command again")
            return EX_UNAVAILABLE
    print_error(f"{found.total()} logins cannot be created today, {found[True]} of them look like another")
    return 1 if found else 0


if __name__ == "__main__":
    main()
