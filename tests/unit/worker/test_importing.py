"""Import of users from a file: accepted lines, refused lines, and the report about them."""

import io
import json
from collections.abc import Sequence, Set as AbstractSet
from typing import Any

import pytest

from shared.contracts.errors import TenantNotFound, Unavailable
from tests.fakes import LIMIT, NOW, FakeAttempts, FakeClock, FakeTenants, FakeUsers
from tests.records import a_tenant, a_user
from worker.domain.records import StoredUser
from worker.domain.throttling import account_key, users_of
from worker.importing.importer import (
    BATCH,
    MAX_LINE_BYTES,
    Accepted,
    AlreadyExists,
    Imported,
    Refused,
    read,
    store,
)

BCRYPT = "$2b$12$TRbcsR329YC.YSSbpFuv9ubjNm5lA6bjnA48h5s5i/sY8T1P2diF6"
ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$JGfDpnGdOPdFm5sXeeKGKdLTmnVRuJRlQVrCFd6Cfog"
ANN = {"login": "ann", "email": "ann@example.com", "passwordHash": BCRYPT}


def lines(*users: Any) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(user).encode() + b"\n" for user in users))


def refusal(**changes: Any) -> str:
    """Return why Ann's line with these changes is refused."""
    (line,) = read(lines({**ANN, **changes}))
    assert isinstance(line, Refused)
    return line.problem


async def stored(
    users: FakeUsers, tenants: FakeTenants, *given: Any, attempts: FakeAttempts | None = None
) -> list[Any]:
    attempts = attempts or FakeAttempts()
    outcomes = store(read(lines(*given)), "shop", tenants, users, attempts=attempts, clock=FakeClock())
    return [line async for line in outcomes]


@pytest.fixture
async def tenants() -> FakeTenants:
    tenants = FakeTenants()
    await tenants.add(a_tenant(id="shop"))
    return tenants


def test_line_with_valid_members_becomes_a_user() -> None:
    """Optional members are kept."""
    more = {"sub": "customer 7", "scope": {"cart": ["read"]}, "registrationDate": 1_500_000_000_123}
    short, full = (
        line.user for line in read(lines(ANN, {**ANN, "login": "bob", **more})) if isinstance(line, Accepted)
    )
    assert (short.login, short.email, short.sub, short.scope) == ("ann", "ann@example.com", None, None)
    user = full.to_user("shop", NOW)
    assert (user.tenant, user.login, user.sub, user.scope) == ("shop", "bob", "customer 7", {"cart": ["read"]})
    assert user.registered_at.isoformat() == user.last_active_at.isoformat() == "2017-07-14T02:40:00.123000+00:00"
    assert user.password_hash == BCRYPT
    fresh = short.to_user("shop", NOW)
    assert fresh.registered_at == NOW
    assert fresh.sub == fresh.id


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"login": ""}, "login: String should have at least 1 character"),
        ({"login": "a\nb"}, "login: must contain printable characters only"),
        ({"login": ".."}, "login: must not be `.` or `..`: URLs cannot contain them"),
        ({"login": "ann "}, "login: must not begin or end with a space"),
        ({"login": "ann\ufe0f"}, "login: must not contain code points that are not displayed"),
        ({"login": "tenant:ann"}, "login: must not begin with `tenant:`, which is reserved for tenants"),
        ({"email": "ann"}, "email: must be an email address: name@domain"),
        ({"sub": ""}, "sub: String should have at least 1 character"),
        ({"scope": ["admin"]}, "scope: must be a string or an object"),
        (
            {"registrationDate": 1_500_000_000},
            "registrationDate: must be in milliseconds since the epoch, and after 1973",
        ),
        ({"registrationDate": 1.5e15}, "registrationDate: must be in milliseconds since the epoch, and after 1973"),
        ({"registrationDate": "yesterday"}, "registrationDate: Input should be a valid integer"),
        ({"passwordHash": None}, "passwordHash: Input should be a valid string"),
    ],
)
def test_line_with_an_invalid_field_is_refused_with_its_name(changes: dict[str, Any], problem: str) -> None:
    """The rules of user.create and those of the import apply."""
    assert refusal(**changes).startswith(problem)


def test_line_with_missing_fields_names_them_all() -> None:
    (line,) = read(lines({"login": "ann"}))
    assert line == Refused(1, "email: Field required; passwordHash: Field required")


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b'"ann"', b"null", b"\xff\xfe{", b'{"login": "\\ud800"}', b"ann;ann@example.com"]
)
def test_line_that_is_no_json_object_is_refused(raw: bytes) -> None:
    """The lines after it are read."""
    first, second = read(io.BytesIO(raw + b"\n" + json.dumps(ANN).encode()))
    assert isinstance(first, Refused)
    assert isinstance(second, Accepted)


def test_line_with_an_unknown_member_is_refused() -> None:
    """A misspelled member would be lost. Its name is not repeated, because it may hold a secret."""
    problem = refusal(scopes="admin", **{BCRYPT: "ann"})
    assert problem.startswith("has members other than email, login, passwordHash, ")
    assert "scopes" not in problem
    assert BCRYPT not in problem
    assert refusal(registration_date=1_500_000_000_000) == problem


def test_blank_lines_and_a_byte_order_mark_are_skipped() -> None:
    """Editors and spreadsheets write them. Line numbers count blank lines."""
    text = json.dumps(ANN).encode()
    assert [line.number for line in read(io.BytesIO(b"\xef\xbb\xbf" + text + b"\r\n\n  \n{\n"))] == [1, 4]
    assert list(read(io.BytesIO(b""))) == []


def test_endless_line_is_refused_without_buffering_it() -> None:
    """The next line is read normally."""
    endless = b'{"login": "' + b"x" * 3 * MAX_LINE_BYTES + b'"}\n'
    first, second = read(io.BytesIO(b"\xef\xbb\xbf" + endless + json.dumps(ANN).encode()))
    assert first == Refused(1, f"must not be longer than {MAX_LINE_BYTES} bytes")
    assert isinstance(second, Accepted)
    assert second.number == 2


def test_longest_members_fit_into_a_line() -> None:
    """Each member is at its limit, with every character escaped."""
    astral = "\U00020000"
    user = {
        "login": astral * 256,
        "email": f"{astral * 242}@example.com",
        "passwordHash": ARGON2,
        "sub": astral * 256,
        "scope": astral * ((4096 - 2) // 12),
    }
    (line,) = read(lines(user))
    assert isinstance(line, Accepted)
    assert len(json.dumps(user)) < MAX_LINE_BYTES / 4


def test_duplicate_login_is_refused_with_the_first_line_number() -> None:
    """The first line wins, and logins are case-sensitive."""
    first, second, other = read(lines(ANN, {**ANN, "email": "ann@home.example"}, {**ANN, "login": "Ann"}))
    assert isinstance(first, Accepted)
    assert second == Refused(2, "login: line 1 has it already")
    assert isinstance(other, Accepted)


@pytest.mark.parametrize(
    "taken",
    [
        BCRYPT,
        BCRYPT.replace("$2b$", "$2a$"),
        BCRYPT.replace("$2b$", "$2y$"),
        BCRYPT.replace("$12$", "$08$"),
        BCRYPT.replace("$12$", "$14$"),
        ARGON2,
        ARGON2.replace("m=65536,t=3", "m=131072,t=8"),
        ARGON2.replace("m=65536", "m=4096"),
    ],
)
def test_supported_password_hash_is_accepted(taken: str) -> None:
    """Supported are bcrypt and argon2id within the bounds."""
    (line,) = read(lines({**ANN, "passwordHash": taken}))
    assert isinstance(line, Accepted)


@pytest.mark.parametrize(
    ("refused", "problem"),
    [
        (BCRYPT.replace("$12$", "$07$"), "a bcrypt cost of 8 to 14"),
        (BCRYPT.replace("$12$", "$15$"), "a bcrypt cost of 8 to 14"),
        (BCRYPT.replace("$12$", "$31$"), "a bcrypt cost of 8 to 14"),
        (BCRYPT.replace("$2b$", "$2x$"), "be a bcrypt hash"),
        (BCRYPT[:-1], "be a bcrypt hash"),
        (BCRYPT + "6", "be a bcrypt hash"),
        (BCRYPT + "\n", "be a bcrypt hash"),
        (BCRYPT[:-1] + "7", "be a bcrypt hash"),  # an unused bit is set
        (BCRYPT[:28] + "v" + BCRYPT[29:], "be a bcrypt hash"),
        (f"pepper{BCRYPT}", "be a bcrypt hash"),
        (f"pepper{ARGON2}", "be a bcrypt hash"),
        (ARGON2.replace("argon2id", "argon2i"), "be a bcrypt hash"),
        (ARGON2.replace("v=19", "v=16"), "be a bcrypt hash"),
        (ARGON2.replace("m=65536,t=3,p=4", "t=3,m=65536,p=4"), "be a bcrypt hash"),
        (ARGON2.replace("t=3", "t=03"), "be a bcrypt hash"),
        (ARGON2.replace("p=4", "p=4,keyid=1"), "be a bcrypt hash"),
        (ARGON2.replace("m=65536", "m=4095"), "an argon2 memory (m) of 4096 to 131072 KiB"),
        (ARGON2.replace("m=65536", "m=131073"), "an argon2 memory (m) of 4096 to 131072 KiB"),
        (ARGON2.replace("t=3", "t=17"), "(m times t) of 1048576 KiB at most"),
        (ARGON2.replace("p=4", "p=9"), "(p) of 8 at most"),
        (ARGON2.replace("c29tZXNhbHRzb21lc2FsdA", "c2FsdA"), "a salt of 8 to 64 bytes"),
        (ARGON2.replace("c29tZXNhbHRzb21lc2FsdA", "c29tZXNhbHRzb21lc2FsdB"), "a salt of 8 to 64 bytes"),
        (ARGON2[:-30], "a hash of 16 to 64 bytes"),
        ("5f4dcc3b5aa765d61d8327deb882cf99", "be a bcrypt hash"),
        ("correct horse battery staple", "be a bcrypt hash"),
        ("", "be a bcrypt hash"),
    ],
)
def test_unsupported_password_hash_is_refused_without_repeating_it(refused: str, problem: str) -> None:
    """The report says what was expected."""
    report = refusal(passwordHash=refused)
    assert report.startswith("passwordHash: must ")
    assert problem in report
    assert not refused or refused not in report


@pytest.mark.parametrize("value", [BCRYPT, "a secret password", "another\nsecret", 7_777_777, ["listed secret"]])
def test_report_about_a_line_repeats_nothing_of_it(value: Any) -> None:
    """A file with shifted columns may hold secrets in any member."""
    members = ("login", "email", "passwordHash", "sub", "scope", "registrationDate", "secret member")
    report = [
        line.problem for each in members for line in read(lines({**ANN, each: value})) if isinstance(line, Refused)
    ]
    assert len(report) > 1
    for text in (BCRYPT, "secret", "7777777", "7_777_777"):
        assert text not in " ".join(report)


def test_hash_is_absent_from_the_repr_of_a_line() -> None:
    """Debuggers and tracebacks print it."""
    (line,) = read(lines(ANN))
    assert isinstance(line, Accepted)
    assert BCRYPT not in repr(line)
    assert BCRYPT not in repr(line.user.to_user("shop", NOW))
    (broken,) = read(io.BytesIO(json.dumps(ANN).encode()[:-1]))
    assert broken == Refused(1, "must be one JSON object")


async def test_valid_lines_of_several_batches_are_stored(tenants: FakeTenants) -> None:
    """Outcomes keep the order of the lines."""
    users = FakeUsers()
    given = [{**ANN, "login": f"user {number}"} for number in range(2 * BATCH + 1)]
    given[BATCH] = {"login": "broken"}
    outcomes = await stored(users, tenants, *given)
    assert [line.number for line in outcomes if isinstance(line, Refused)] == [BATCH + 1]
    assert [line.number for line in outcomes if isinstance(line, Imported)] == [
        number + 1 for number in range(2 * BATCH + 1) if number != BATCH
    ]
    assert len(await users.page("shop", "", "", 1000)) == 2 * BATCH


async def test_existing_user_stays_unchanged(tenants: FakeTenants) -> None:
    """A second import with other values reports the user as existing."""
    users = FakeUsers()
    await stored(users, tenants, ANN)
    ann = await users.find("shop", "ann")
    outcomes = await stored(
        users, tenants, {**ANN, "email": "other@example.com", "passwordHash": ARGON2}, {**ANN, "login": "bob"}
    )
    assert [type(line) for line in outcomes] == [AlreadyExists, Imported]
    assert await users.find("shop", "ann") == ann


async def test_users_of_a_tenant_deleted_during_the_import_are_removed() -> None:
    """User creation behaves the same."""
    users = FakeUsers()
    with pytest.raises(TenantNotFound):
        await stored(users, FakeTenants(), ANN)
    assert await users.find("shop", "ann") is None


class CountingAttempts(FakeAttempts):
    """Counts the calls of `forget`."""

    writes = 0

    async def forget(self, *keys: str) -> None:
        self.writes += 1
        await super().forget(*keys)


async def test_attempts_before_the_import_of_an_account_are_forgotten(tenants: FakeTenants) -> None:
    """Otherwise an account could be locked before its first login. Attempts at existing accounts are kept."""
    users, attempts = FakeUsers(), CountingAttempts()
    shop = users_of("shop")
    await stored(users, tenants, {**ANN, "login": "old"})
    of_old, of_elsewhere = account_key(shop, "old"), account_key(users_of("bank"), "user 1")
    of_new = {account_key(shop, f"user {number}") for number in range(BATCH + 50)}
    for key in (of_old, of_elsewhere, *of_new):
        await attempts.count(key, None, LIMIT, NOW)
    given = [{**ANN, "login": login} for login in ("old", *(f"user {number}" for number in range(BATCH + 50)))]
    await stored(users, tenants, *given, attempts=attempts)
    assert attempts.keys == {of_old, of_elsewhere}
    assert attempts.writes == 2


class LostUsers(FakeUsers):
    """A database that becomes unavailable after one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches_left = 1

    async def add_new(self, users: Sequence[StoredUser]) -> AbstractSet[str]:
        if self.batches_left == 0:
            raise Unavailable
        self.batches_left -= 1
        return await super().add_new(users)


async def test_outcomes_before_an_interruption_are_stored_and_a_second_run_finishes(tenants: FakeTenants) -> None:
    users = LostUsers()
    given = [{**ANN, "login": f"user {number}"} for number in range(BATCH + 50)]
    outcomes_so_far: list[Any] = []

    async def begin() -> None:
        outcomes = store(read(lines(*given)), "shop", tenants, users, attempts=FakeAttempts(), clock=FakeClock())
        async for line in outcomes:
            outcomes_so_far.append(line)  # noqa: PERF401 - the loop ends with an exception

    with pytest.raises(Unavailable):
        await begin()
    stored_logins = {user.login for user in await users.page("shop", "", "", 1000)}
    assert stored_logins == {line.user.login for line in outcomes_so_far if isinstance(line, Imported)}
    assert len(stored_logins) == BATCH
    users.batches_left = 2
    assert [type(line) for line in await stored(users, tenants, *given)] == [AlreadyExists] * BATCH + [Imported] * 50


def test_logins_with_the_same_nfc_form_are_duplicates() -> None:
    """The account is stored under the NFC form."""
    first, second = read(lines({**ANN, "login": "Cafe\u0301"}, {**ANN, "login": "Caf\u00e9"}))
    assert isinstance(first, Accepted)
    assert first.user.login == "Caf\u00e9"
    assert second == Refused(2, "login: line 1 has it already")


async def test_account_of_an_earlier_version_keeps_its_spelling(tenants: FakeTenants) -> None:
    """Importing an old file again must not create a second account."""
    users = FakeUsers()
    old = a_user(tenant="shop", login="Cafe\u0301")
    await users.add(old)
    given = [{**ANN, "login": login} for login in ("Cafe\u0301", "ann", "Zo\u00eb")]
    outcomes = await stored(users, tenants, *given)
    assert [type(outcome) for outcome in outcomes] == [AlreadyExists, Imported, Imported]
    assert [user.login for user in await users.page("shop", "", "", 10)] == ["Cafe\u0301", "Zo\u00eb", "ann"]
    assert await users.find("shop", "Cafe\u0301") == old
