"""Logins in different Unicode forms: each operation finds the exact login first, then its NFC form."""

from collections.abc import Sequence
from typing import Any

import pytest

from shared.contracts.audit_list import AUDIT_LIST
from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.errors import InvalidCredentials, LoginTaken, SessionNotFound, UserNotFound
from shared.contracts.session_list import SESSION_LIST
from shared.contracts.session_revoke import SESSION_REVOKE
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_list import USER_LIST
from shared.contracts.user_update import USER_UPDATE
from tests.records import a_user
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

#: One word, in NFC and in NFD.
CAFE, CAFE_NFD = "Caf\u00e9", "Cafe\u0301"
NEW_PASSWORD = "another fine password"
OLD_PASSWORD = "the password of the other"


class Shop:
    """A tenant and its requests about users, with logins as typed."""

    def __init__(self, worker: InMemoryWorker, token: str) -> None:
        self.worker = worker
        self.token = token

    async def call(self, operation: Any, login: str, message_id: str | None = None, **fields: Any) -> Any:
        return await self.worker.call(operation, message_id, tenantToken=self.token, login=login, **fields)

    async def add(self, login: str) -> str:
        """Store a user as an earlier worker might have, and return its id."""
        tenant = (await self.worker.session_of(self.token)).tenant
        password_hash = await self.worker.ports.hasher.hash(OLD_PASSWORD)
        return (await self.worker.users.add(a_user(tenant=tenant, login=login, password_hash=password_hash))).id

    async def log_in(self, login: str, password: str = PASSWORD) -> str:
        """Log in and return the id of the session."""
        token = await self.worker.login(self.token, login, password=password)
        return (await self.worker.session_of(token)).id

    async def logins(self) -> Sequence[str]:
        return [user.login for user in (await self.worker.call(USER_LIST, tenantToken=self.token)).users]

    async def sessions(self, login: str) -> set[str]:
        return {session.id for session in (await self.call(SESSION_LIST, login)).sessions}


@pytest.fixture
def cafe(worker: InMemoryWorker, shop: str) -> Shop:
    return Shop(worker, shop)


@pytest.mark.parametrize("typed", [CAFE, CAFE_NFD])
@pytest.mark.parametrize("created", [CAFE, CAFE_NFD])
async def test_operation_finds_the_account_by_either_form_of_its_login(cafe: Shop, created: str, typed: str) -> None:
    assert (await cafe.worker.create(cafe.token, created)).login == CAFE
    session = await cafe.log_in(typed)
    assert await cafe.sessions(typed) == {session}
    assert (await cafe.call(USER_UPDATE, typed, sub="s")).login == CAFE
    await cafe.call(SESSION_REVOKE, typed, sessionId=session)
    assert await cafe.sessions(typed) == set()
    await cafe.log_in(typed)
    await cafe.call(SESSION_REVOKE_ALL, typed)
    assert await cafe.sessions(typed) == set()
    assert (await cafe.call(USER_UPDATE, typed, password=NEW_PASSWORD)).login == CAFE
    assert (
        await cafe.worker.session_of(await cafe.worker.login(cafe.token, typed, password=NEW_PASSWORD))
    ).login == CAFE
    await cafe.call(USER_DELETE, typed)
    assert await cafe.logins() == []


async def test_login_taken_in_another_unicode_form_is_refused(cafe: Shop) -> None:
    """An account of an earlier version may have the login in NFD."""
    await cafe.worker.create(cafe.token, CAFE)
    await cafe.add("Zoe\u0308")
    for login in (CAFE, CAFE_NFD, "Zo\u00eb", "Zoe\u0308"):
        with pytest.raises(LoginTaken):
            await cafe.worker.create(cafe.token, login)


async def test_account_with_an_nfd_login_is_found_only_by_it(cafe: Shop) -> None:
    """Another account has the same login in NFC, and neither is found by the other's form."""
    await cafe.worker.create(cafe.token, CAFE)
    await cafe.add(CAFE_NFD)
    new, old = await cafe.log_in(CAFE), await cafe.log_in(CAFE_NFD, OLD_PASSWORD)
    for login, password in ((CAFE, OLD_PASSWORD), (CAFE_NFD, PASSWORD)):
        with pytest.raises(InvalidCredentials):
            await cafe.log_in(login, password)
    assert (await cafe.sessions(CAFE), await cafe.sessions(CAFE_NFD)) == ({new}, {old})
    with pytest.raises(SessionNotFound):
        await cafe.call(SESSION_REVOKE, CAFE_NFD, sessionId=new)
    await cafe.call(USER_UPDATE, CAFE_NFD, scope="old")
    scopes = {user.login: user.scope for user in (await cafe.worker.call(USER_LIST, tenantToken=cafe.token)).users}
    assert scopes == {CAFE: None, CAFE_NFD: "old"}
    await cafe.call(USER_DELETE, CAFE_NFD)
    assert await cafe.logins() == [CAFE]
    assert await cafe.sessions(CAFE) == {new}


async def test_account_with_a_login_that_is_invalid_today_keeps_working(cafe: Shop) -> None:
    """Earlier versions allowed such logins."""
    for login in ("admin ", "admin\ufe0f", "tenant:ann"):
        await cafe.add(login)
        session = await cafe.log_in(login, OLD_PASSWORD)
        assert await cafe.sessions(login) == {session}
        assert (await cafe.call(USER_UPDATE, login, sub="s")).login == login
        await cafe.call(USER_DELETE, login)
    with pytest.raises(UserNotFound):
        await cafe.call(USER_DELETE, "admin")


async def test_repeated_request_does_not_reach_the_account_in_another_form(cafe: Shop) -> None:
    """The account of the first request is deleted by then."""
    await cafe.worker.create(cafe.token, CAFE)
    await cafe.add(CAFE_NFD)
    session = await cafe.log_in(CAFE_NFD, OLD_PASSWORD)
    requests: list[tuple[Any, dict[str, Any]]] = [
        (SESSION_REVOKE, {"sessionId": session}),
        (SESSION_REVOKE_ALL, {}),
        (USER_UPDATE, {"scope": "other"}),
        (USER_DELETE, {}),
    ]
    for number, (operation, fields) in enumerate(requests):
        await cafe.call(operation, CAFE_NFD, f"message {number}", **fields)
    live = await cafe.log_in(CAFE)
    for number, (operation, fields) in enumerate(requests):
        if operation is USER_UPDATE:
            with pytest.raises(UserNotFound):
                await cafe.call(operation, CAFE_NFD, f"message {number}", **fields)
        else:
            await cafe.call(operation, CAFE_NFD, f"message {number}", **fields)
    (user,) = (await cafe.worker.call(USER_LIST, tenantToken=cafe.token)).users
    assert (user.login, user.scope) == (CAFE, None)
    assert await cafe.sessions(CAFE) == {live}


async def test_audit_record_has_the_login_of_the_account(cafe: Shop) -> None:
    """Records about unknown logins have none. Either form finds them."""
    await cafe.worker.create(cafe.token, CAFE)
    session = await cafe.log_in(CAFE_NFD)
    with pytest.raises(InvalidCredentials):
        await cafe.log_in(CAFE_NFD, "wrong")
    with pytest.raises(InvalidCredentials):
        await cafe.log_in("Nobody\u0301", "wrong")
    await cafe.call(SESSION_REVOKE, CAFE_NFD, sessionId=session)
    await cafe.call(USER_UPDATE, CAFE_NFD, sub="s")
    await cafe.call(SESSION_REVOKE_ALL, CAFE_NFD)
    await cafe.call(USER_DELETE, CAFE_NFD)
    records = (await cafe.worker.call(AUDIT_LIST, tenantToken=cafe.token)).records
    assert {record.login for record in records if record.type != "tenant.register"} == {CAFE, None}
    for typed in (CAFE, CAFE_NFD):
        reply = await cafe.call(AUDIT_LIST, typed)
        assert sorted(record.type for record in reply.records) == sorted(
            [
                "user.create",
                "auth.login",
                "auth.login",
                "session.revoke",
                "user.update",
                "session.revoke_all",
                "user.delete",
            ]
        )


async def test_failed_logins_in_either_form_share_one_throttle(cafe: Shop) -> None:
    for login in (CAFE, "Nobody\u00f3"):
        keys = []
        for typed in (login, login.replace("\u00e9", "e\u0301").replace("\u00f3", "o\u0301")):
            with pytest.raises(InvalidCredentials):
                await cafe.call(AUTH_LOGIN, typed, password="wrong", deviceId="phone")
            keys.append(cafe.worker.attempts.keys)
        assert keys[0] == keys[1]
