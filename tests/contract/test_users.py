"""The contract of `Users` for accounts, for the fake and MongoDB."""

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


async def test_added_user_is_found_unchanged(users: Users) -> None:
    user = await added(users, registered_at=NOW + timedelta(milliseconds=1), last_active_at=NOW + timedelta(days=1))
    assert await users.find(user.tenant, user.login) == user


async def test_part_of_a_login_or_another_case_finds_no_user(users: Users) -> None:
    await added(users, login="ann")
    for other in ("an", "annn", "Ann", "ann ", ""):
        assert await users.find("shop", other) is None


@pytest.mark.parametrize("login", ["a/b?c#d", "$where", "a.b", "Ünï 漢字 🙂", "' OR 1=1 --", "x" * 256])
async def test_login_with_special_characters_is_found_literally(users: Users, login: str) -> None:
    user = await added(users, login=login)
    assert await users.find("shop", login) == user
    assert logins(await users.page("shop", login, "", 10)) == [login]


async def test_second_user_with_the_same_login_is_refused(users: Users) -> None:
    first = await added(users, login="ann")
    with pytest.raises(LoginTaken):
        await users.add(a_user(login="ann"))
    assert await users.find("shop", "ann") == first


#: The same word in NFC and in NFD.
CAFE, CAFE_NFD = "Caf\u00e9", "Cafe\u0301"


async def test_spelling_of_a_login_is_its_normal_form(users: Users) -> None:
    """Unknown logins and those of another tenant are normalized in the same way."""
    await added(users, login=CAFE)
    await added(users, login="ann")
    spellings = ((CAFE, CAFE), (CAFE_NFD, CAFE), ("ann", "ann"), ("Ann", "Ann"), ("No\u0308", "N\u00f6"))
    for typed, reached in spellings:
        assert await users.spelling("shop", typed) == reached
        assert await users.spelling("shop", typed, a_key()) == reached
        assert await users.spelling("bank", typed) == reached
    assert await users.find("shop", CAFE_NFD) is None


async def test_stored_spelling_takes_precedence_over_the_normal_form(users: Users) -> None:
    """An account stored before logins were normalized is reached only by its exact spelling."""
    old = await added(users, login=CAFE_NFD)
    assert await users.spelling("shop", CAFE_NFD) == CAFE_NFD
    assert await users.spelling("shop", CAFE) == CAFE
    assert await users.find("shop", CAFE) is None
    new = await added(users, login=CAFE)
    for user in (old, new):
        assert await users.find("shop", await users.spelling("shop", user.login)) == user


async def test_repeated_request_resolves_to_the_spelling_it_acted_on(users: Users) -> None:
    """The account of a repeated request may be deleted since; any other request then reaches the
    account whose login has the same normal form.
    """
    old, _ = await added(users, login=CAFE_NFD), await added(users, login=CAFE)
    changed, deleted = a_key(), a_key()
    await change(users, old, {"scope": "other"}, changed)
    decision = await users.decide_revocation("shop", CAFE_NFD, RevocationReason.USER_DELETED, deleted)
    assert await users.spelling("shop", CAFE_NFD) == CAFE_NFD
    await users.finish_revocation(decision)
    for key in (changed, deleted):
        assert await users.spelling("shop", CAFE_NFD, key) == CAFE_NFD
    assert await users.spelling("shop", CAFE_NFD, a_key()) == CAFE
    assert await users.spelling("shop", CAFE_NFD) == CAFE


async def test_spelled_returns_the_logins_that_are_stored(users: Users) -> None:
    """Users that are being deleted are included."""
    await added(users, login="ann")
    await added(users, login=CAFE_NFD)
    await added(users, tenant="bank", login="bob")
    await users.decide_revocation("shop", "ann", RevocationReason.USER_DELETED, a_key())
    assert await users.spelled("shop", ["ann", "bob", CAFE, CAFE_NFD]) == {"ann", CAFE_NFD}
    assert await users.spelled("shop", []) == set()


async def test_logins_are_paged_with_those_being_deleted(users: Users) -> None:
    for login in ("b", "a", "a ", CAFE, CAFE_NFD, "c"):
        await added(users, login=login)
    await added(users, tenant="bank", login="bb")
    await users.decide_revocation("shop", "b", RevocationReason.USER_DELETED, a_key())
    pages = [await users.logins("shop", after, 4) for after in ("", "a ", "b", "c")]
    expected = [CAFE_NFD, CAFE, "a", "a ", "b", "c"]
    assert pages == [expected[:4], ["b", "c"], ["c"], []]


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
async def test_search_finds_the_normal_form_and_the_stored_spelling(
    users: Users, search: str, found: list[str]
) -> None:
    for login in (CAFE, CAFE_NFD, "bob"):
        await added(users, login=login)
    assert logins(await users.page("shop", search, "", 10)) == found


async def test_two_tenants_may_use_one_login(users: Users) -> None:
    here, there = await added(users, login="ann"), await added(users, tenant="bank", login="ann")
    assert await users.find("shop", "ann") == here
    assert await users.find("bank", "ann") == there
    assert await users.page("shop", "", "", 10) == [here]
    assert await users.find("third", "ann") is None


async def test_one_of_concurrent_creations_gets_the_login(users: Users) -> None:
    rivals = [a_user(login="ann") for _ in range(50)]
    outcomes = await asyncio.gather(*(users.add(rival) for rival in rivals), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(LoginTaken) == 49
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, StoredUser)]
    assert winner in rivals
    assert await users.find("shop", "ann") == winner


async def test_add_new_adds_users_with_free_logins_and_returns_the_others(users: Users) -> None:
    ann, deleted = await added(users, login="ann"), await added(users, login="deleted")
    await users.decide_revocation("shop", "deleted", RevocationReason.USER_DELETED, a_key())
    there = await added(users, tenant="bank", login="bob")
    new = [a_user(login=login) for login in ("bob", "ann", "cid", "deleted", "bob")]
    assert await users.add_new(new) == {new[1].id, new[3].id, new[4].id}
    assert await users.page("shop", "", "", 10) == [ann, new[0], new[2]]
    assert await users.find("bank", "bob") == there
    assert await users.add_new(new) == {user.id for user in new}
    assert await users.find(deleted.tenant, deleted.login) is None


async def test_many_added_users_are_found_changed_searched_and_deleted(users: Users) -> None:
    new = [a_user(email=f"{number}@example.com", scope={"": number}, sub="same") for number in range(300)]
    assert await users.add_new(new) == set()
    assert [await users.find(user.tenant, user.login) for user in new[:3]] == new[:3]
    assert await users.page("shop", "299@EXAMPLE", "", 10) == [new[299]]
    assert (await change(users, new[0], {"scope": "other"})).scope == "other"
    await users.finish_revocation(
        await users.decide_revocation("shop", new[0].login, RevocationReason.USER_DELETED, a_key())
    )
    assert len(await users.page("shop", "", "", 1000)) == 299


async def test_one_of_concurrent_imports_gets_each_login(users: Users) -> None:
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
async def test_scope_is_stored_unchanged(users: Users, scope: Any) -> None:
    user = await added(users, scope=scope)
    found = await users.find(user.tenant, user.login)
    assert found is not None
    assert repr(found.scope) == repr(scope)  # 1 == 1.0 == True; as JSON they are three things
    await change(users, user, {"scope": "other"})
    await change(users, user, {"scope": scope})
    changed = await users.find(user.tenant, user.login)
    assert changed is not None
    assert repr(changed.scope) == repr(scope)


async def test_deeply_nested_scope_is_stored_unchanged(users: Users) -> None:
    scope: Any = "bottom"
    for _ in range(16):
        scope = {"down": [scope]}
    user = await added(users, scope=scope)
    assert await users.find(user.tenant, user.login) == user


async def test_pages_are_ordered_by_code_point(users: Users) -> None:
    ordered = ["", " ", "1", "10", "2", "A", "Z", "a", "aa", "b", "é", "я", "漢", "\ufb01", "\U00010400", "🙂"][1:]
    for login in reversed(ordered):
        await added(users, login=login)
    assert logins(await users.page("shop", "", "", 100)) == ordered


async def test_pages_neither_skip_nor_repeat_a_login(users: Users) -> None:
    expected = [f"user-{number:02}" for number in range(7)]
    for login in expected:
        await added(users, login=login)
    seen: list[str] = []
    for _ in range(4):
        seen += logins(await users.page("shop", "", seen[-1] if seen else "", 3))
    assert seen == expected


async def test_page_after_a_login_that_does_not_exist_continues(users: Users) -> None:
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
        (".", ["Ann.Lee", "a+b*c", "bob", "straße", "Ünal"]),  # matches the domain of each email
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
async def test_search_finds_literal_parts_of_login_or_email_in_any_case(
    users: Users, search: str, found: list[str]
) -> None:
    await added(users, login="Ann.Lee", email="1@example.com")
    await added(users, login="a+b*c", email="2@example.com")
    await added(users, login="bob", email="Builder@Example.org")
    await added(users, login="straße", email="3@example.com")
    await added(users, login="Ünal", email="4@example.com")
    await added(users, tenant="bank", login="ann of another tenant")
    assert sorted(logins(await users.page("shop", search, "", 100))) == sorted(found)


async def test_search_results_are_paged_in_order(users: Users) -> None:
    for login in ("b1", "q1", "b2", "q2", "q3"):
        await added(users, login=login)
    assert logins(await users.page("shop", "Q", "", 2)) == ["q1", "q2"]
    assert logins(await users.page("shop", "Q", "q2", 2)) == ["q3"]


async def test_change_writes_only_the_given_attributes(users: Users) -> None:
    user = await added(users)
    await change(users, user, {"sub": "other"})
    assert await users.find(user.tenant, user.login) == replace(user, sub="other")
    await change(users, user, {"email": "new@example.com", "scope": None})
    assert await users.find(user.tenant, user.login) == replace(user, sub="other", email="new@example.com", scope=None)


async def test_search_after_a_change_finds_only_the_new_email(users: Users) -> None:
    user = await added(users, login="ann", email="old@example.com")
    await change(users, user, {"email": "New@example.com"})
    assert await users.page("shop", "old@", "", 10) == []
    assert logins(await users.page("shop", "new@", "", 10)) == ["ann"]
    changes = UserChanges({"email": "newest@example.com"}, "new hash")
    await users.decide_revocation(user.tenant, user.login, RevocationReason.PASSWORD_CHANGED, a_key(), changes)
    assert await users.page("shop", "new@", "", 10) == []
    assert logins(await users.page("shop", "newest@", "", 10)) == ["ann"]
    assert logins(await users.page("shop", "ann", "", 10)) == ["ann"]


async def test_change_of_an_unknown_user_is_refused(users: Users) -> None:
    ghost = a_user()
    with pytest.raises(UserNotFound):
        await change(users, ghost, {"sub": "other"})
    assert await users.find(ghost.tenant, ghost.login) is None


async def test_replaced_hash_is_stored_and_revokes_nothing(users: Users) -> None:
    user = await added(users)
    await users.replace_hash(user, "stronger")
    assert await users.find(user.tenant, user.login) == replace(user, password_hash="stronger")
    assert await users.is_current(user)


async def test_replacing_a_hash_that_changed_meanwhile_keeps_the_new_one(users: Users) -> None:
    user = await added(users)
    changes = UserChanges(password_hash="of a new password")
    await users.decide_revocation(user.tenant, user.login, RevocationReason.PASSWORD_CHANGED, a_key(), changes)
    await users.replace_hash(user, "of the old password")
    found = await users.find(user.tenant, user.login)
    assert found is not None
    assert found.password_hash == "of a new password"


async def test_concurrent_changes_of_different_attributes_are_all_written(users: Users) -> None:
    user = await added(users)
    changes = [{"sub": "other"}, {"email": "new@example.com"}, {"scope": "all"}]
    for order in itertools.permutations(changes):
        await asyncio.gather(*(change(users, user, fields) for fields in order))
        found = await users.find(user.tenant, user.login)
        assert found == replace(user, sub="other", email="new@example.com", scope="all")
        await change(users, user, {"sub": user.sub, "email": user.email, "scope": user.scope})


async def test_remove_all_removes_every_user_of_one_tenant(users: Users) -> None:
    """Users that are being deleted are included."""
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
