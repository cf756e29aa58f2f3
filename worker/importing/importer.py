"""Imports users from the lines of a file. Importing a file again creates no second account."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, BinaryIO

from pydantic import AfterValidator, ConfigDict, ValidationError

from shared.contracts import names
from shared.contracts.errors import TenantNotFound
from shared.contracts.wire import Email, Milliseconds, Name, NewLogin, Scope, WireModel
from worker.domain.identifiers import new_id
from worker.domain.ports import Attempts, Clock, Tenants, Users
from worker.domain.records import StoredUser
from worker.domain.throttling import account_key, users_of
from worker.importing.hashes import ImportedHash

#: Users stored per step, so that a step takes the database much less than a worker's timeout.
BATCH = 200
#: Four times the longest valid line, with every character escaped.
MAX_LINE_BYTES = 65_536
#: The idempotency key of imported users. Requests have digests as keys, so none equals it.
CREATED_BY = "import"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: A time in 1973. A timestamp in seconds, read as milliseconds, lies before it until the year 5138.
MIN_REGISTRATION = 100_000_000_000
#: The end of the year 9999, the last year that `datetime` supports. Timestamps in microseconds lie
#: after it.
MAX_REGISTRATION = 253_402_300_799_999
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _registration(value: Milliseconds) -> Milliseconds:
    if not MIN_REGISTRATION <= value <= MAX_REGISTRATION:
        raise ValueError("must be in milliseconds since the epoch, and after 1973")
    return value


class ImportedUser(WireModel):
    """One line of the file: the members of `user.create`, with the password's hash instead of the password.

    Unknown members are refused, not ignored: otherwise a misspelled `scope` would be lost for every
    user.
    """

    model_config = ConfigDict(extra="forbid", validate_by_name=False)

    email: Email
    login: NewLogin
    password_hash: ImportedHash
    sub: Name | None = None
    """The tenant's own name for the user. If absent, the user's id."""
    scope: Scope = None
    registration_date: Annotated[Milliseconds, AfterValidator(_registration)] | None = None
    """If absent, the time of the import."""

    def to_user(self, tenant: str, now: datetime) -> StoredUser:
        """Return a new account of the tenant. Its last activity is its registration, since nothing later is known."""
        user_id = new_id()
        since = now if self.registration_date is None else EPOCH + timedelta(milliseconds=self.registration_date)
        return StoredUser(
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
    """A line that is not a valid user. `problem` is `field: problem` and quotes nothing of the line."""

    number: int
    problem: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A line that is a valid user."""

    number: int
    user: ImportedUser


class Imported(Accepted):
    """A line whose user was stored."""


class AlreadyExists(Accepted):
    """A line whose login exists already. That account is not changed."""


def read(file: BinaryIO) -> Iterator[Accepted | Refused]:
    """Validate each line that is not blank. Holds all logins and one line in memory."""
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
        # The second line with a login is refused: it is unknown which of the two is right.
        yield Accepted(number, user) if first == number else Refused(number, f"login: line {first} has it already")


async def store(
    lines: Iterable[Accepted | Refused],
    tenant: str,
    tenants: Tenants,
    users: Users,
    *,
    attempts: Attempts,
    clock: Clock,
) -> AsyncIterator[Imported | AlreadyExists | Refused]:
    """Store the users durably in batches, and yield the outcome of each line once it is certain.

    Raises `Unavailable` if the database is unavailable; outcomes yielded before are still true.
    Raises `TenantNotFound` if the tenant was deleted meanwhile; then none of its users is left.
    """
    waiting: list[Accepted] = []
    for line in lines:
        if isinstance(line, Refused):
            yield line
            continue
        waiting.append(line)
        if len(waiting) == BATCH:
            for outcome in await _stored(waiting, tenant, tenants, users, attempts=attempts, clock=clock):
                yield outcome
            waiting.clear()
    if waiting:
        for outcome in await _stored(waiting, tenant, tenants, users, attempts=attempts, clock=clock):
            yield outcome


async def _stored(
    lines: Sequence[Accepted], tenant: str, tenants: Tenants, users: Users, *, attempts: Attempts, clock: Clock
) -> list[Imported | AlreadyExists]:
    now = clock.now()
    # As in `user.create`: accounts created before logins were in NFC may have the decomposed
    # spelling.
    others = {other for line in lines if (other := names.nfd(line.user.login)) != line.user.login}
    taken = await users.spelled(tenant, others) if others else frozenset()
    made = [line.user.to_user(tenant, now) for line in lines]
    new = [user for user in made if names.nfd(user.login) not in taken]
    stored = {user.id for user in new} - await users.add_new(new) if new else set()
    # As in `user.create`: if the tenant is deleted meanwhile, either its deletion finds these
    # users, or this check sees it.
    if await tenants.find(tenant) is None:
        await users.remove_all(tenant)
        raise TenantNotFound
    # As in `user.create`: attempts from before the account existed do not lock it.
    if stored:
        logins = [user.login for user in new if user.id in stored]
        await attempts.forget(*(account_key(users_of(tenant), login) for login in logins))
    return [
        Imported(line.number, line.user) if user.id in stored else AlreadyExists(line.number, line.user)
        for line, user in zip(lines, made, strict=True)
    ]


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield each line, or None for one that is too long. Only a part of a long line is in memory at a time."""
    byte_order_mark = _BYTE_ORDER_MARK
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES:
            yield line.removeprefix(byte_order_mark)
        else:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            yield None
        byte_order_mark = b""


def _problem(error: ValidationError) -> str:
    """Return one `field: problem` for each field. Unknown member names are not quoted, since they may be secrets."""
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
