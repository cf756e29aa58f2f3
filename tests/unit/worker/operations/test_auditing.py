"""The audit trail: what is on record after each operation, in whose trail, and what is not."""

import logging
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.audit_list import AUDIT_LIST, AUDITED
from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.errors import AuthError, InvalidCredentials, Unavailable
from shared.contracts.operation import Lane
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL
from shared.contracts.tenant_delete import TENANT_DELETE
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.tenant_update import TENANT_UPDATE
from shared.contracts.token_revoke import TOKEN_REVOKE
from shared.contracts.user_delete import USER_DELETE
from tests.fakes import LIMIT, REGISTRATION_KEY, FakeAudit
from tests.requests import NEW_PASSWORD, Accounts
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.domain.records import AuditRecord

EMAIL = "shop@example.com"
#: What each operation's usual request leaves, beyond its name: login, why sessions ended, and what was changed.
LEFT: dict[str, tuple[str, str | None, tuple[str, ...]]] = {
    "tenant.register": ("tenant:new.shop@example.com", None, ()),
    "tenant.login": (f"tenant:{EMAIL}", None, ()),
    "tenant.logout": (f"tenant:{EMAIL}", "logout", ()),
    "tenant.update": (f"tenant:{EMAIL}", "password_changed", ()),
    "tenant.disable": (f"tenant:{EMAIL}", "tenant_disabled", ()),
    "tenant.enable": (f"tenant:{EMAIL}", None, ()),
    "tenant.delete": (f"tenant:{EMAIL}", "tenant_deleted", ()),
    "user.create": ("bob", None, ()),
    "user.update": ("ann", "password_changed", ("email", "password")),
    "user.delete": ("ann", "user_deleted", ()),
    "auth.login": ("ann", None, ()),
    "auth.logout": ("ann", "logout", ()),
    "session.revoke": ("ann", "revoked", ()),
    "session.revoke_all": ("ann", "all_revoked", ()),
    "token.revoke": ("ann", "token_revoked", ()),
}


def record_of(worker: InMemoryWorker) -> AuditRecord:
    """The only one there is."""
    [record] = worker.audit.records.values()
    return record


async def refused(worker: InMemoryWorker, operation: str, **fields: Any) -> None:
    with pytest.raises(AuthError):
        await worker.call(OPERATIONS[operation], **fields)


def test_each_operation_is_recorded_or_only_reads() -> None:
    """What is not recorded changes nothing, and decides about no password."""
    reads = {
        "tenant.verify",
        "auth.verify",
        "user.get",
        "user.list",
        "session.list",
        "event.list",
        "token.introspect",
        AUDIT_LIST.name,
    }
    assert set(OPERATIONS) == set(AUDITED) | reads | {f"health.{lane}" for lane in Lane}
    assert set(LEFT) == set(AUDITED)


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("name", LEFT)
async def test_what_was_done_is_on_record(worker: InMemoryWorker, shop: str, name: str) -> None:
    """One record with the tenant, the account, and why sessions ended; the same request again leaves no other."""
    token = await worker.login(shop)
    session = await worker.session_of(token)
    accounts = Accounts(EMAIL, PASSWORD, shop, token, session.id, REGISTRATION_KEY)
    worker.audit.records.clear()
    login, reason, changed = LEFT[name]
    for _ in range(2):
        await worker.call(OPERATIONS[name], "message", **accounts.request(name))
        worker.clock.advance(timedelta(seconds=1))
        record = record_of(worker)
        assert (record.type, record.outcome, record.login) == (name, "ok", login)
        assert (record.reason, record.changed, record.attempts) == (reason, changed, 1)
        assert (record.tenant == session.tenant) == (name != "tenant.register")
        if name in {"auth.logout", "session.revoke", "token.revoke"}:
            assert record.session == session.id
        if name in {"tenant.update", "tenant.delete"}:  # its token has ended: no other request can be proven by it
            break


async def test_a_login_tells_its_session_device_and_address(worker: InMemoryWorker, shop: str) -> None:
    """As the tenant's product said them."""
    await worker.create(shop)
    worker.audit.records.clear()
    token = await worker.login(shop, clientAddress="192.0.2.1")
    record = record_of(worker)
    assert (record.session, record.device_id) == ((await worker.session_of(token)).id, "phone")
    assert record.client_address == "192.0.2.1"


async def test_a_service_cannot_say_where_a_tenant_logs_in(worker: InMemoryWorker, shop: str) -> None:
    """The record has the service's name and no address. Of its users a tenant says itself where they are."""
    where = {"clientAddress": "192.0.2.1"}
    await worker.create(shop)
    worker.audit.records.clear()
    await worker.call_as("mallory", TENANT_LOGIN, email=EMAIL, password=PASSWORD, **where)
    for password in ("wrong", "wronger"):
        with pytest.raises(InvalidCredentials):
            await worker.call_as("mallory", TENANT_LOGIN, email=EMAIL, password=password, **where)
    for record in worker.audit.records.values():
        assert (record.client_address, record.service) == (None, "mallory")
    assert sorted(record.attempts for record in worker.audit.records.values()) == [1, 2]
    worker.audit.records.clear()
    members = {"tenantToken": shop, "login": "ann", "password": PASSWORD, "deviceId": "phone"}
    await worker.call_as("shop", AUTH_LOGIN, **members, **where)
    assert (record_of(worker).client_address, record_of(worker).service) == ("192.0.2.1", "shop")


async def test_one_record_cannot_hide_another(worker: InMemoryWorker, shop: str) -> None:
    """A message id is its sender's choice: another request under the same is on record, too."""
    for login in ("ann", "bob"):
        await worker.create(shop, login)
    worker.audit.records.clear()
    for login in ("ann", "bob"):
        await worker.call(USER_DELETE, "message", tenantToken=shop, login=login)
    assert {record.login for record in worker.audit.records.values()} == {"ann", "bob"}


@pytest.mark.usefixtures("ann")
async def test_wrong_and_throttled_passwords_of_a_user(worker: InMemoryWorker, shop: str) -> None:
    """As one record a minute each, with their number; wrong ones by where they came from."""
    worker.audit.records.clear()
    for number in range(LIMIT.undelayed + 3):
        where = "192.0.2.1" if number < 3 else "192.0.2.2"
        await refused(
            worker, "auth.login", tenantToken=shop, login="ann", password="x", deviceId="d", clientAddress=where
        )
    told = {(record.outcome, record.client_address): record for record in worker.audit.records.values()}
    assert {key: record.attempts for key, record in told.items()} == {
        ("invalid_credentials", "192.0.2.1"): 3,
        ("invalid_credentials", "192.0.2.2"): 2,
        ("throttled", "192.0.2.2"): 3,
    }
    assert {record.login for record in told.values()} == {"ann"}
    worker.clock.advance(timedelta(minutes=1))
    await refused(worker, "auth.login", tenantToken=shop, login="ann", password="x", deviceId="d")
    assert len(worker.audit.records) == 4


async def test_names_that_nobody_has_are_not_kept(worker: InMemoryWorker, shop: str) -> None:
    """They may be passwords. However many are tried from however many addresses, they are one record a minute."""
    worker.audit.records.clear()
    for number in range(20):
        fields = {"password": "x", "deviceId": "d", "clientAddress": f"192.0.2.{number}"}
        await refused(worker, "auth.login", tenantToken=shop, login=f"my password {number}", **fields)
    record = record_of(worker)
    assert (record.outcome, record.login, record.attempts) == ("invalid_credentials", None, 20)


@pytest.mark.usefixtures("shop")
async def test_wrong_passwords_of_a_tenant(worker: InMemoryWorker) -> None:
    """They are in the trail of who has the email, and in nobody's where nobody has it."""
    worker.audit.records.clear()
    for email in (EMAIL, "nobody@example.com"):
        await refused(worker, "tenant.login", email=email, password="wrong", clientAddress="192.0.2.1")
    record = record_of(worker)
    assert (record.login, record.client_address) == (f"tenant:{EMAIL}", "192.0.2.1")


@pytest.mark.parametrize("name", ["tenant.update", "tenant.disable", "tenant.delete"])
async def test_wrong_passwords_beside_a_tenant_token(worker: InMemoryWorker, shop: str, name: str) -> None:
    """They are in its trail: that somebody has stolen a token may be seen by that."""
    worker.audit.records.clear()
    password = "currentPassword" if name == "tenant.update" else "password"
    await refused(worker, name, tenantToken=shop, **{password: "wrong"})
    record = record_of(worker)
    assert (record.type, record.outcome, record.login) == (name, "invalid_credentials", f"tenant:{EMAIL}")


@pytest.mark.usefixtures("ann")
async def test_what_is_not_proven_is_in_nobodys_trail(worker: InMemoryWorker, shop: str) -> None:
    """With no live tenant token, or a wrong registration key; nor what found nothing to do."""
    token = await worker.login(shop)
    worker.audit.records.clear()
    await refused(worker, "auth.login", tenantToken=token, login="ann", password=PASSWORD, deviceId="d")
    await refused(worker, "user.delete", tenantToken="none", login="ann")
    await refused(worker, "tenant.delete", email=EMAIL, registrationKey="wrong")
    await refused(worker, "tenant.enable", email=EMAIL, registrationKey="wrong")
    await refused(worker, "user.delete", tenantToken=shop, login="nobody")
    await worker.call(TOKEN_REVOKE, tenantToken=shop, token="none")
    assert worker.audit.records == {}


async def test_what_the_operator_does_is_told_apart(worker: InMemoryWorker, shop: str) -> None:
    """A tenant can tell it from what was done with its token."""
    worker.audit.records.clear()
    tenant = (await worker.session_of(shop)).tenant
    await worker.call(TENANT_DELETE, email=EMAIL, registrationKey=REGISTRATION_KEY)
    record = record_of(worker)
    assert (record.tenant, record.login, record.by_operator) == (tenant, f"tenant:{EMAIL}", True)


@pytest.mark.parametrize(("key", "by_operator"), [(REGISTRATION_KEY, True), ("some other key", False), (None, False)])
async def test_who_shows_a_wrong_key_is_not_the_operator(
    worker: InMemoryWorker, key: str | None, *, by_operator: bool
) -> None:
    """Although the tenant may register from where it is."""
    shown = {} if key is None else {"registrationKey": key}
    await worker.call(TENANT_REGISTER, email="bank@example.com", password=PASSWORD, **shown)
    assert record_of(worker).by_operator is by_operator


class Away(FakeAudit):
    """A database that takes no records."""

    async def append(self, record: AuditRecord) -> None:  # noqa: ARG002 - as the port has it
        raise Unavailable


async def test_a_login_does_not_depend_on_its_record(caplog: pytest.LogCaptureFixture) -> None:
    """It succeeds without, and the log says so, with no secret in it."""
    worker = InMemoryWorker(audit=Away())
    shop = await worker.register()
    await worker.create(shop)
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        assert await worker.login(shop)
    [line] = caplog.records
    assert (line.message, vars(line)["operation"]) == ("audit record is lost", AUTH_LOGIN.name)


async def test_no_secret_is_in_any_record(worker: InMemoryWorker, shop: str) -> None:
    """Neither a password, right or wrong, nor a token, nor a key, whatever was asked."""
    await worker.create(shop)
    token = await worker.login(shop)
    await refused(worker, "auth.login", tenantToken=shop, login=NEW_PASSWORD, password="wrong one", deviceId="d")
    await worker.call(SESSION_REVOKE_ALL, tenantToken=shop, login="ann")
    update = await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD, password=NEW_PASSWORD)
    login = await worker.call(TENANT_LOGIN, email=EMAIL, password=NEW_PASSWORD)
    await worker.call(TENANT_DELETE, email=EMAIL, registrationKey=REGISTRATION_KEY)
    everything = repr(worker.audit.records)
    assert "ann" in everything
    for secret in (PASSWORD, NEW_PASSWORD, "wrong one", token, shop, update.token, login.token, REGISTRATION_KEY):
        assert secret not in everything
