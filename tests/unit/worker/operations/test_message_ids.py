"""Limits of message ids: callers choose them, so they authorize nothing and hide nothing."""

from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import BadRequest, InvalidToken, SessionNotFound, UserNotFound
from shared.contracts.operation import Operation
from shared.contracts.session_revoke import SESSION_REVOKE
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.user import User
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_list import USER_LIST
from shared.contracts.user_update import USER_UPDATE
from tests.fakes import FakeHasher
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.amqp.deadlines import MAX_DEADLINE_MS
from worker.domain.records import IDEMPOTENCY_WINDOW, MAX_IDEMPOTENCY_KEYS

NEW_PASSWORD = "another fine password"


async def users(worker: InMemoryWorker, tenant_token: str) -> tuple[User, ...]:
    return (await worker.call(USER_LIST, tenantToken=tenant_token)).users


@pytest.mark.usefixtures("ann")
async def test_message_id_used_by_another_tenant_has_no_effect(worker: InMemoryWorker, shop: str) -> None:
    """Login and operation are the same, too."""
    bank = await worker.register("bank@example.com")
    token = await worker.login(shop)
    session = (await worker.session_of(token)).id
    await worker.call(SESSION_REVOKE, "message", tenantToken=shop, login="ann", sessionId=session)
    await worker.call(USER_DELETE, "message", tenantToken=shop, login="ann")
    with pytest.raises(UserNotFound):
        await worker.call(USER_DELETE, "message", tenantToken=bank, login="ann")
    with pytest.raises(UserNotFound):
        await worker.call(SESSION_REVOKE, "message", tenantToken=bank, login="ann", sessionId=session)
    await worker.create(bank)
    theirs = await worker.login(bank)
    with pytest.raises(SessionNotFound):
        await worker.call(SESSION_REVOKE, "message", tenantToken=bank, login="ann", sessionId=session)
    await worker.call(USER_DELETE, "message", tenantToken=bank, login="ann")
    assert await users(worker, bank) == ()
    with pytest.raises(InvalidToken):
        await worker.verify(bank, theirs)


@pytest.mark.usefixtures("ann")
async def test_message_id_of_another_tenants_logout_does_not_validate_its_token(
    worker: InMemoryWorker, shop: str
) -> None:
    bank = await worker.register("bank@example.com")
    token = await worker.login(shop)
    await worker.call(AUTH_LOGOUT, "message", tenantToken=shop, token=token)
    with pytest.raises(InvalidToken):
        await worker.call(AUTH_LOGOUT, "message", tenantToken=bank, token=token)


@pytest.mark.usefixtures("ann")
async def test_message_id_of_a_logout_does_not_validate_a_forged_token(worker: InMemoryWorker, shop: str) -> None:
    """The signature is checked again."""
    logouts: list[tuple[Operation[Any, Any], str, dict[str, str]]] = [
        (AUTH_LOGOUT, await worker.login(shop), {"tenantToken": shop}),
        (TENANT_LOGOUT, shop, {}),
    ]
    for operation, token, fields in logouts:
        await worker.call(operation, "message", token=token, **fields)
        signed, _, signature = token.rpartition(".")
        forged = f"{signed}.{signature[::-1]}"
        with pytest.raises(InvalidToken):
            await worker.call(operation, "message", token=forged, **fields)


@pytest.mark.usefixtures("ann")
async def test_message_id_reused_for_another_session_revokes_it(worker: InMemoryWorker, shop: str) -> None:
    tokens = [await worker.login(shop) for _ in range(2)]
    for token in tokens:
        await worker.call(AUTH_LOGOUT, "message", tenantToken=shop, token=token)
    sessions = [(await worker.session_of(await worker.login(shop))).id for _ in range(2)]
    for session in sessions:
        await worker.call(SESSION_REVOKE, "message", tenantToken=shop, login="ann", sessionId=session)
    assert len(worker.events.reasons) == 4


@pytest.mark.usefixtures("ann")
async def test_message_id_reused_for_another_operation_runs_it(worker: InMemoryWorker, shop: str) -> None:
    token = await worker.login(shop)
    session = (await worker.session_of(token)).id
    await worker.call(AUTH_LOGOUT, "message", tenantToken=shop, token=token)
    with pytest.raises(SessionNotFound):
        await worker.call(SESSION_REVOKE, "message", tenantToken=shop, login="ann", sessionId=session)

    asked: list[tuple[Operation[Any, Any], dict[str, str]]] = [
        (SESSION_REVOKE_ALL, {}),
        (USER_UPDATE, {"sub": "007"}),
        (USER_UPDATE, {"sub": "007", "password": PASSWORD}),
        (USER_DELETE, {}),
    ]
    for operation, fields in asked:
        await worker.login(shop)
        await worker.call(operation, "message", tenantToken=shop, login="ann", **fields)
    assert list(worker.events.reasons.values()) == ["logout", "all_revoked", *2 * ["password_changed"], "user_deleted"]
    assert await users(worker, shop) == ()


@pytest.mark.usefixtures("ann")
async def test_message_id_reused_for_another_user_applies_to_that_user(worker: InMemoryWorker, shop: str) -> None:
    await worker.create(shop, "bob")
    for login in ("ann", "bob"):
        await worker.call(USER_DELETE, "message", tenantToken=shop, login=login)
    assert await users(worker, shop) == ()


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("password", [{}, {"password": NEW_PASSWORD}], ids=["without password", "with password"])
async def test_message_id_reused_for_another_change_applies_it(
    worker: InMemoryWorker, shop: str, password: dict[str, str]
) -> None:
    for scope in ("some", {"all": True}, None):
        fields = {"tenantToken": shop, "login": "ann", "scope": scope, **password}
        assert (await worker.call(USER_UPDATE, "message", **fields)).scope == scope
        assert (await users(worker, shop))[0].scope == scope


async def test_message_id_reused_with_another_password_is_refused() -> None:
    """Passwords are not stored in a form that could be compared, so the request is not applied."""
    hasher = FakeHasher()
    worker = InMemoryWorker(hasher=hasher)
    shop = await worker.register()
    await worker.create(shop)
    fields = {"tenantToken": shop, "login": "ann"}
    await worker.call(USER_UPDATE, "message", **fields, password=NEW_PASSWORD)
    with pytest.raises(BadRequest, match="message_id"):
        await worker.call(USER_UPDATE, "message", **fields, password="yet another password")
    await worker.login(shop, password=NEW_PASSWORD)
    before = hasher.work
    await worker.call(USER_UPDATE, "another message", **fields, password="yet another password")
    assert hasher.work == before + 1


def test_idempotency_window_exceeds_every_deadline_and_clock_difference() -> None:
    assert timedelta(milliseconds=MAX_DEADLINE_MS) + timedelta(minutes=3) <= IDEMPOTENCY_WINDOW


@pytest.mark.usefixtures("ann")
async def test_message_id_reused_after_the_idempotency_window_is_a_new_request(
    worker: InMemoryWorker, shop: str
) -> None:
    """No redelivery is that late, but callers that count their ids may restart from 1."""
    await worker.call(SESSION_REVOKE_ALL, "1", tenantToken=shop, login="ann")
    worker.clock.advance(IDEMPOTENCY_WINDOW)
    token = await worker.login(shop)
    await worker.call(SESSION_REVOKE_ALL, "1", tenantToken=shop, login="ann")
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)


@pytest.mark.usefixtures("ann")
async def test_idempotency_keys_of_a_user_are_limited_in_number(worker: InMemoryWorker, shop: str) -> None:
    """The stored user does not grow without limit."""
    change = {"tenantToken": shop, "login": "ann"}
    await worker.call(USER_UPDATE, "message", **change, email="first@example.com")
    for number in range(MAX_IDEMPOTENCY_KEYS - 1):
        await worker.call(USER_UPDATE, **change, email=f"{number}@example.com")
        worker.clock.advance(timedelta(seconds=1))
    again = await worker.call(USER_UPDATE, "message", **change, email="first@example.com")
    assert again.email == f"{MAX_IDEMPOTENCY_KEYS - 2}@example.com"
    await worker.call(USER_UPDATE, **change, email="last@example.com")
    again = await worker.call(USER_UPDATE, "message", **change, email="first@example.com")
    assert again.email == "first@example.com"


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("m", "0/phone"), ("m/0", "phone")),
        (("m", '",0,"phone'), ('m",0,"', "phone")),
        (("m", "phone"), ("m/0", "phone")),
    ],
)
async def test_logins_with_ambiguous_message_ids_and_devices_have_separate_sessions(
    worker: InMemoryWorker, shop: str, first: tuple[str, str], second: tuple[str, str]
) -> None:
    """Callers choose both values, separators included."""
    opened = []
    for message_id, device in (first, second):
        fields = {"tenantToken": shop, "login": "ann", "password": PASSWORD, "deviceId": device}
        opened.append(await worker.session_of((await worker.call(AUTH_LOGIN, message_id, **fields)).access_token))
    assert [session.device_id for session in opened] == [first[1], second[1]]
    assert opened[0].id != opened[1].id
