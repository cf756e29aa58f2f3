"""What every `Users` must do with accounts. The decisions to end their sessions are in `test_endings`."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.errors import LoginTaken, UserNotFound
from shared.contracts.events import RevocationReason
from tests.fakes import NOW, FakeUsers
from tests.records import a_key, a_user
from worker.adapters.mongo_users import MongoUsers
from worker.domain.ports import Users
from worker.domain.records import IdempotencyKey, StoredUser, UserChanges


@pytest.fixture(params=["fake", "mongo"])
def users(request: pytest.FixtureRequest) -> Users:
    if request.param == "fake":
        return FakeUsers()
    return MongoUsers(request.getfixturevalue("mongo_database"))


async def added(users: Users, **changes: Any) -> StoredUser:
    user = a_user(**changes)
    await users.add(user)
    return user


async def change(
    users: Users, user: StoredUser, fields: dict[str, Any], key: IdempotencyKey | None = None
) -> StoredUser:
    """Change the user, with a new request unless a key is given."""
    return await users.change(user.tenant, user.login, UserChanges(fields), key or a_key())


def logins(found: Sequence[StoredUser]) -> list[str]:
    return [user.login for user in found]


async def test_a_user_is_found_as_it_was_added(users: Users) -> None:
    """What is stored is what was given, to the millisecond."""
    user = await added(users, registered_at=NOW + timedelta(milliseconds=1), last_active_at=NOW + timedelta(days=1))
    assert await users.find(user.tenant, user.login) == user


async def test_an_unknown_login_finds_nobody(users: Users) -> None:
    """Only the whole login finds a user, in its own case."""
    await added(users, login="ann")
    for other in ("an", "annn", "Ann", "ann ", ""):
        assert await users.find("shop", other) is None


@pytest.mark.parametrize("login", ["a/b?c#d", "$where", "a.b", "Ünï 漢字 🙂", "' OR 1=1 --", "x" * 256])
async def test_any_printable_login_is_a_login(users: Users, login: str) -> None:
    """No character of a login means anything to the store."""
    user = await added(users, login=login)
    assert await users.find("shop", login) == user
    assert logins(await users.page("shop", login, "", 10)) == [login]


async def test_a_login_belongs_to_one_user_of_a_tenant(users: Users) -> None:
    """A second user of the same login is refused and changes nothing."""
    first = await added(users, login="ann")
    with pytest.raises(LoginTaken):
        await users.add(a_user(login="ann"))
    assert await users.find("shop", "ann") == first


#: One word, in NFC and in NFD.
CAFE, CAFE_NFD = "Caf\u00e9", "Cafe\u0301"


async def test_a_login_reaches_the_account_of_its_normal_form(users: Users) -> None:
    """However it is typed; of another tenant's accounts and of nobody's it is as if there were none."""
    await added(users, login=CAFE)
    await added(users, login="ann")
    spellings = ((CAFE, CAFE), (CAFE_NFD, CAFE), ("ann", "ann"), ("Ann", "Ann"), ("No\u0308", "N\u00f6"))
    for typed, reached in spellings:
        assert await users.spelling("shop", typed) == reached
        assert await users.spelling("shop", typed, a_key()) == reached
        assert await users.spelling("bank", typed) == reached
    assert await users.find("shop", CAFE_NFD) is None


async def test_a_stored_spelling_comes_first(users: Users) -> None:
    """Accounts from before new logins were in NFC are reached by exactly their spelling, and never by another's."""
    old = await added(users, login=CAFE_NFD)
    assert await users.spelling("shop", CAFE_NFD) == CAFE_NFD
    assert await users.spelling("shop", CAFE) == CAFE
    assert await users.find("shop", CAFE) is None
    new = await added(users, login=CAFE)
    for user in (old, new):
        assert await users.find("shop", await users.spelling("shop", user.login)) == user


async def test_a_request_that_comes_again_reaches_nobody_else(users: Users) -> None:
    """It deleted an account from before, or changed it before another request deleted it: then it finds that it did,
    and not the account whose login is the same in NFC. Any other request reaches that one."""
    old, _ = await added(users, login=CAFE_NFD), await added(users, login=CAFE)
    changed, deleted = a_key(), a_key()
    await change(users, old, {"scope": "other"}, changed)
    ending = await users.decide_revocation("shop", CAFE_NFD, RevocationReason.USER_DELETED, deleted)
    assert await users.spelling("shop", CAFE_NFD) == CAFE_NFD
    await users.finish_revocation(ending)
    for key in (changed, deleted):
        assert await users.spelling("shop", CAFE_NFD, key) == CAFE_NFD
    assert await users.spelling("shop", CAFE_NFD, a_key()) == CAFE
    assert await users.spelling("shop", CAFE_NFD) == CAFE


async def test_spellings_are_told_as_they_are_stored(users: Users) -> None:
    """The answer names many at once, also users that are being deleted; and nobody of another tenant."""
    await added(users, login="ann")
    await added(users, login=CAFE_NFD)
    await added(users, tenant="bank", login="bob")
    await users.decide_revocation("shop", "ann", RevocationReason.USER_DELETED, a_key())
    assert await users.spelled("shop", ["ann", "bob", CAFE, CAFE_NFD]) == {"ann", CAFE_NFD}
    assert await users.spelled("shop", []) == set()


async def test_logins_are_read_page_by_page(users: Users) -> None:
    """In the order of `page`, of one tenant, also of users that are being deleted."""
    for login in ("b", "a", "a ", CAFE, CAFE_NFD, "c"):
        await added(users, login=login)
    await added(users, tenant="bank", login="bb")
    await users.decide_revocation("shop", "b", RevocationReason.USER_DELETED, a_key())
    pages = [await users.logins("shop", after, 4) for after in ("", "a ", "b", "c")]
    everybody = [CAFE_NFD, CAFE, "a", "a ", "b", "c"]
    assert pages == [everybody[:4], ["b", "c"], ["c"], []]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (CAFE.upper(), [CAFE]),
        (CAFE_NFD, [CAFE_NFD, CAFE]),
        ("f\u00e9", [CAFE]),
        ("Caf", [CAFE_NFD, CAFE]),
        ("f.\u0301", []),
    ],
)
async def test_a_search_finds_its_normal_form(users: Users, search: str, found: list[str]) -> None:
    """And what was stored as it is typed."""
    for login in (CAFE, CAFE_NFD, "bob"):
        await added(users, login=login)
    assert logins(await users.page("shop", search, "", 10)) == found


async def test_two_tenants_may_use_one_login(users: Users) -> None:
    """A login is a tenant's own: neither finds, lists or takes the other's."""
    here, there = await added(users, login="ann"), await added(users, tenant="bank", login="ann")
    assert await users.find("shop", "ann") == here
    assert await users.find("bank", "ann") == there
    assert await users.page("shop", "", "", 10) == [here]
    assert await users.find("third", "ann") is None


async def test_one_of_many_at_once_gets_the_login(users: Users) -> None:
    """Of 50 concurrent creations of one login exactly one is stored."""
    rivals = [a_user(login="ann") for _ in range(50)]
    outcomes = await asyncio.gather(*(users.add(rival) for rival in rivals), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(LoginTaken) == 49
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, StoredUser)]
    assert winner in rivals
    assert await users.find("shop", "ann") == winner


async def test_of_many_those_are_added_whose_login_is_free(users: Users) -> None:
    """The others are told by their ids, and who has their logins stays as they are; another tenant's is free."""
    ann, ending = await added(users, login="ann"), await added(users, login="ending")
    await users.decide_revocation("shop", "ending", RevocationReason.USER_DELETED, a_key())
    there = await added(users, tenant="bank", login="bob")
    new = [a_user(login=login) for login in ("bob", "ann", "cid", "ending", "bob")]
    assert await users.add_new(new) == {new[1].id, new[3].id, new[4].id}
    assert await users.page("shop", "", "", 10) == [ann, new[0], new[2]]
    assert await users.find("bank", "bob") == there
    assert await users.add_new(new) == {user.id for user in new}
    assert await users.find(ending.tenant, ending.login) is None


async def test_many_users_are_found_as_they_were_added(users: Users) -> None:
    """And can be changed, searched and deleted as any."""
    new = [a_user(email=f"{number}@example.com", scope={"": number}, sub="same") for number in range(300)]
    assert await users.add_new(new) == set()
    assert [await users.find(user.tenant, user.login) for user in new[:3]] == new[:3]
    assert await users.page("shop", "299@EXAMPLE", "", 10) == [new[299]]
    assert (await change(users, new[0], {"scope": "other"})).scope == "other"
    await users.finish_revocation(
        await users.decide_revocation("shop", new[0].login, RevocationReason.USER_DELETED, a_key())
    )
    assert len(await users.page("shop", "", "", 1000)) == 299


async def test_one_of_many_imports_at_once_gets_each_login(users: Users) -> None:
    """Whoever does it, a login becomes one user, and exactly one of them is told so."""
    rivals = [[a_user(login=f"user {number}") for number in range(20)] for _ in range(5)]
    refused = await asyncio.gather(*(users.add_new(each) for each in rivals))
    stored = {user.id for each, taken in zip(rivals, refused, strict=True) for user in each if user.id not in taken}
    assert {user.id for user in await users.page("shop", "", "", 100)} == stored
    assert len(stored) == 20


SCOPES: list[Any] = [
    None,
    "",
    "company:read company:write",
    "null",
    {},
    {"$set": {"admin": True}, "a.b": 1, "": "empty", "\0": "nul", "_id": None},
    {"huge": 10**60, "negative": -(2**70), "float": 0.1, "tiny": 5e-324, "whole": 1.0},
    {"list": [[], {}, None, True, "1", [1, [2, [3]]]]},
    {"ключ": "漢字 🙂", "quotes": "\"'\\"},
    {"date": "2030-01-01T00:00:00Z", "$date": "2030-01-01T00:00:00Z", "$oid": "0" * 24},
]


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: repr(scope)[:30])
async def test_a_scope_comes_back_as_it_was_given(users: Users, scope: Any) -> None:
    """A scope is the tenant's own JSON: the store neither reads nor bends it."""
    user = await added(users, scope=scope)
    found = await users.find(user.tenant, user.login)
    assert found is not None
    assert repr(found.scope) == repr(scope)  # 1 == 1.0 == True; as JSON they are three things
    await change(users, user, {"scope": "other"})
    await change(users, user, {"scope": scope})
    changed = await users.find(user.tenant, user.login)
    assert changed is not None
    assert repr(changed.scope) == repr(scope)


async def test_a_deeply_nested_scope_comes_back(users: Users) -> None:
    """Nesting as deep as the contract allows is stored."""
    scope: Any = "bottom"
    for _ in range(16):
        scope = {"down": [scope]}
    user = await added(users, scope=scope)
    assert await users.find(user.tenant, user.login) == user


async def test_pages_follow_the_order_of_logins(users: Users) -> None:
    """Logins are ordered by code point, whatever the order they came in, planes beyond the first included."""
    ordered = ["", " ", "1", "10", "2", "A", "Z", "a", "aa", "b", "é", "я", "漢", "\ufb01", "\U00010400", "🙂"][1:]
    for login in reversed(ordered):
        await added(users, login=login)
    assert logins(await users.page("shop", "", "", 100)) == ordered


async def test_pages_neither_skip_nor_repeat(users: Users) -> None:
    """Each page begins after the last login of the one before, until there is none."""
    everybody = [f"user-{number:02}" for number in range(7)]
    for login in everybody:
        await added(users, login=login)
    seen: list[str] = []
    for _ in range(4):
        seen += logins(await users.page("shop", "", seen[-1] if seen else "", 3))
    assert seen == everybody


async def test_a_page_begins_after_a_login_that_is_gone(users: Users) -> None:
    """The login a page begins after need not exist."""
    for login in ("a", "c", "d"):
        await added(users, login=login)
    assert logins(await users.page("shop", "", "b", 10)) == ["c", "d"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", ["Ann.Lee", "a+b*c", "bob", "straße", "Ünal"]),
        ("ann", ["Ann.Lee"]),
        ("LEE", ["Ann.Lee"]),
        ("nn.l", ["Ann.Lee"]),
        ("n.*e", []),
        ("+b*", ["a+b*c"]),
        (".", ["Ann.Lee", "a+b*c", "bob", "straße", "Ünal"]),  # of the emails' domains
        ("^b", []),
        ("bob$", []),
        ("(", []),
        ("[a-z]", []),
        ("\\", []),
        ("ünal", ["Ünal"]),
        ("ÜNAL", ["Ünal"]),
        ("STRASSE", ["straße"]),
        ("Straße", ["straße"]),
        ("builder@", ["bob"]),
        ("BUILDER@EXAMPLE.ORG", ["bob"]),
        ("nobody", []),
        ("leeann", []),
    ],
)
async def test_search_finds_a_part_of_login_or_email(users: Users, search: str, found: list[str]) -> None:
    """A search is plain text in any case: no character of it is a pattern."""
    await added(users, login="Ann.Lee", email="1@example.com")
    await added(users, login="a+b*c", email="2@example.com")
    await added(users, login="bob", email="Builder@Example.org")
    await added(users, login="straße", email="3@example.com")
    await added(users, login="Ünal", email="4@example.com")
    await added(users, tenant="bank", login="ann of another tenant")
    assert sorted(logins(await users.page("shop", search, "", 100))) == sorted(found)


async def test_search_goes_page_by_page(users: Users) -> None:
    """A search is paged and ordered as the whole list is."""
    for login in ("b1", "q1", "b2", "q2", "q3"):
        await added(users, login=login)
    assert logins(await users.page("shop", "Q", "", 2)) == ["q1", "q2"]
    assert logins(await users.page("shop", "Q", "q2", 2)) == ["q3"]


async def test_change_writes_what_it_names(users: Users) -> None:
    """Attributes that a change does not name stay as they were."""
    user = await added(users)
    await change(users, user, {"sub": "other"})
    assert await users.find(user.tenant, user.login) == replace(user, sub="other")
    await change(users, user, {"email": "new@example.com", "scope": None})
    assert await users.find(user.tenant, user.login) == replace(user, sub="other", email="new@example.com", scope=None)


async def test_a_changed_email_is_what_search_finds(users: Users) -> None:
    """Search knows the new email and forgets the old one, whatever wrote it."""
    user = await added(users, login="ann", email="old@example.com")
    await change(users, user, {"email": "New@example.com"})
    assert await users.page("shop", "old@", "", 10) == []
    assert logins(await users.page("shop", "new@", "", 10)) == ["ann"]
    changes = UserChanges({"email": "newest@example.com"}, "new hash")
    await users.decide_revocation(user.tenant, user.login, RevocationReason.PASSWORD_CHANGED, a_key(), changes)
    assert await users.page("shop", "new@", "", 10) == []
    assert logins(await users.page("shop", "newest@", "", 10)) == ["ann"]
    assert logins(await users.page("shop", "ann", "", 10)) == ["ann"]


async def test_change_of_nobody(users: Users) -> None:
    """A user that does not exist is not changed into being."""
    ghost = a_user()
    with pytest.raises(UserNotFound):
        await change(users, ghost, {"sub": "other"})
    assert await users.find(ghost.tenant, ghost.login) is None


async def test_a_hash_is_replaced(users: Users) -> None:
    """A stronger hash takes the place of the weaker one, and ends nothing."""
    user = await added(users)
    await users.replace_hash(user, "stronger")
    assert await users.find(user.tenant, user.login) == replace(user, password_hash="stronger")
    assert await users.is_current(user)


async def test_a_hash_that_changed_meanwhile_stays(users: Users) -> None:
    """Who read the user before its password changed does not bring the old password back."""
    user = await added(users)
    changes = UserChanges(password_hash="of a new password")
    await users.decide_revocation(user.tenant, user.login, RevocationReason.PASSWORD_CHANGED, a_key(), changes)
    await users.replace_hash(user, "of the old password")
    found = await users.find(user.tenant, user.login)
    assert found is not None
    assert found.password_hash == "of a new password"


async def test_changes_at_once_do_not_undo_each_other(users: Users) -> None:
    """Concurrent changes of different attributes are all written."""
    user = await added(users)
    changes = [{"sub": "other"}, {"email": "new@example.com"}, {"scope": "all"}]
    for order in itertools.permutations(changes):
        await asyncio.gather(*(change(users, user, fields) for fields in order))
        found = await users.find(user.tenant, user.login)
        assert found == replace(user, sub="other", email="new@example.com", scope="all")
        await change(users, user, {"sub": user.sub, "email": user.email, "scope": user.scope})


async def test_all_users_of_a_tenant_are_removed(users: Users) -> None:
    """However they are, being deleted or changed; and nobody else's."""
    for number in range(3):
        await users.add(a_user(login=f"user-{number}"))
    await users.decide_revocation("shop", "user-0", RevocationReason.USER_DELETED, a_key())
    other = await users.add(a_user(tenant="bank", login="user-1"))
    await users.remove_all("shop")
    await users.remove_all("shop")
    assert await users.page("shop", "", "", 10) == []
    assert await users.unfinished_revocations("shop", NOW + timedelta(days=1), 10) == []
    assert await users.page("bank", "", "", 10) == [other]
    await users.add(a_user(login="user-0"))
