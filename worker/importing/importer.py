"""Users who exist elsewhere: lines of a file become accounts, each once, however often the file is read."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, BinaryIO

from pydantic import AfterValidator, ConfigDict, ValidationError

from shared.contracts import names
from shared.contracts.errors import TenantNotFound
from shared.contracts.wire import Email, Milliseconds, Name, NewLogin, Scope, WireModel
from worker.domain.identifiers import new_id
from worker.domain.ports import Clock, Tenants, Users
from worker.domain.records import User
from worker.importing.hashes import ImportedHash

#: Stored at a time: the database answers long before a worker's patience with it is over.
BATCH = 200
#: Four times what the longest members take together, with every character of them escaped.
MAX_LINE_BYTES = 65_536
#: Of a user that no request has made. Marks of requests are digests, so it is none of them.
CREATED_BY = "import"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: In 1973. Seconds that are taken for milliseconds lie before it, until the year 5138.
MIN_REGISTRATION = 100_000_000_000
#: The end of the year 9999, which is the end of dates. Microseconds lie behind it.
MAX_REGISTRATION = 253_402_300_799_999
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _registration(value: Milliseconds) -> Milliseconds:
    if not MIN_REGISTRATION <= value <= MAX_REGISTRATION:
        raise ValueError("must be in milliseconds since the epoch, and after 1973")
    return value


class ImportedUser(WireModel):
    """One line: the members of `user.create`, with the password's hash in the password's place.

    Members that it does not know are refused, not ignored: a misspelled `scope` would be lost for every user.
    """

    model_config = ConfigDict(extra="forbid", validate_by_name=False)

    email: Email
    login: NewLogin
    password_hash: ImportedHash
    sub: Name | None = None
    """The tenant's own name for this subject; the user's id if absent."""
    scope: Scope = None
    registration_date: Annotated[Milliseconds, AfterValidator(_registration)] | None = None
    """Now if absent."""

    def to_user(self, tenant: str, now: datetime) -> User:
        """A new account of it, whose last activity is its registration: of others nothing is known."""
        user_id = new_id()
        since = now if self.registration_date is None else EPOCH + timedelta(milliseconds=self.registration_date)
        return User(
            id=user_id,
            tenant=tenant,
            login=self.login,
            email=self.email,
            sub=self.sub or user_id,
            scope=self.scope,
            password_hash=self.password_hash.get_secret_value(),
            registered_at=since,
            last_active_at=since,
            idempotency_key=CREATED_BY,
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that is no user, and why: `field: problem`, in words that repeat nothing of the line."""

    number: int
    problem: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A line that is a user."""

    number: int
    user: ImportedUser


class Imported(Accepted):
    """It is an account from now on."""


class AlreadyExists(Accepted):
    """Its login was somebody's, who stays as they are."""


def read(file: BinaryIO) -> Iterator[Accepted | Refused]:
    """What each line is that is not blank. Holds all logins in memory, and of the rest one line."""
    numbers: dict[str, int] = {}
    for number, line in enumerate(_lines(file), start=1):
        if line is None:
            yield Refused(number, f"must not be longer than {MAX_LINE_BYTES} bytes")
            continue
        if not line.strip():
            continue
        try:
            user = ImportedUser.model_validate_json(line)
        except ValidationError as error:
            yield Refused(number, _problem(error))
            continue
        first = numbers.setdefault(user.login, number)
        # Which of the two is right, nobody here can tell.
        yield Accepted(number, user) if first == number else Refused(number, f"login: line {first} has it already")


async def store(
    lines: Iterable[Accepted | Refused], tenant: str, tenants: Tenants, users: Users, clock: Clock
) -> AsyncIterator[Imported | AlreadyExists | Refused]:
    """Makes users of the tenant, durably and some at a time; each line's outcome is told when it is certain.

    Raises `Unavailable` when the database is away, and `TenantNotFound` when the tenant was deleted meanwhile: then no
    user is left of it. What was told before is as it was told.
    """
    waiting: list[Accepted] = []
    for line in lines:
        if isinstance(line, Refused):
            yield line
            continue
        waiting.append(line)
        if len(waiting) == BATCH:
            for outcome in await _stored(waiting, tenant, tenants, users, clock):
                yield outcome
            waiting.clear()
    if waiting:
        for outcome in await _stored(waiting, tenant, tenants, users, clock):
            yield outcome


async def _stored(
    lines: Sequence[Accepted], tenant: str, tenants: Tenants, users: Users, clock: Clock
) -> list[Imported | AlreadyExists]:
    now = clock.now()
    # As in `user.create`: accounts from before logins were in NFC may have them as other systems spell them.
    others = {other for line in lines if (other := names.decomposed(line.user.login)) != line.user.login}
    taken = await users.spelled(tenant, others) if others else frozenset()
    made = [line.user.to_user(tenant, now) for line in lines]
    new = [user for user in made if names.decomposed(user.login) not in taken]
    stored = {user.id for user in new} - await users.add_new(new) if new else set()
    # As `user.create` does: the tenant's deletion finds what was just stored, or this look sees the deletion.
    if await tenants.find(tenant) is None:
        await users.remove_all(tenant)
        raise TenantNotFound
    return [
        Imported(line.number, line.user) if user.id in stored else AlreadyExists(line.number, line.user)
        for line, user in zip(lines, made, strict=True)
    ]


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Each line; None in place of one that is too long, of which only a part is held at a time."""
    key = _BYTE_ORDER_MARK
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES:
            yield line.removeprefix(key)
        else:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            yield None
        key = b""


def _problem(error: ValidationError) -> str:
    """One `field: problem` for each field. A name that is not a field's is not told: it may be a secret, too."""
    fields = {info.alias for info in ImportedUser.model_fields.values()}
    problems: dict[str, str] = {}
    for each in error.errors(include_input=False, include_url=False, include_context=False):
        name = each["loc"][0] if each["loc"] else None
        if name in fields:
            problems.setdefault(f"{name}: ", each["msg"].removeprefix("Value error, "))
        elif name is None:
            problems[""] = "must be one JSON object"
        else:
            problems[""] = f"has members other than {', '.join(sorted(filter(None, fields)))}"
    return "; ".join(f"{name}{problem}" for name, problem in problems.items())
