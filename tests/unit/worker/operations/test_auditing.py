"""The audit trail: the records of each operation, their tenant, and what is never recorded."""

import logging
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.audit_list import AUDIT_LIST, AUDITED
from shared.contracts.audit_search import AUDIT_SEARCH
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
from tests.records import an_api_key
from tests.requests import NEW_PASSWORD, Accounts
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.domain.audit_records import StoredAuditRecord

EMAIL = "shop@example.com"
#: The record of each operation's usual request: login, revocation reason and changed fields.
RECORDED: dict[str, tuple[str, str | None, tuple[str, ...]]] = {
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
    "tenant.revoke_sessions": (f"tenant:{EMAIL}", "all_revoked", ()),
    "tenant.reset": (f"tenant:{EMAIL}", None, ()),
    "tenant.complete_reset": (f"tenant:{EMAIL}", "password_changed", ()),
    "settings.update": (f"tenant:{EMAIL}", None, ("maxKeyLifetimeDays",)),
    "key.create": (f"tenant:{EMAIL}", None, ()),
    "key.rotate": (f"tenant:{EMAIL}", None, ()),
    "key.revoke": (f"tenant:{EMAIL}", "revoked", ()),
    "operator.login": ("olga", None, ()),
    "operator.logout": ("olga", "logout", ()),
    "operator.set_password": ("olga", "password_changed", ()),
    "operator.update": ("oskar", None, ("permissions",)),
}


def record_of(worker: InMemoryWorker) -> StoredAuditRecord:
    """Return the only record. A request of an operator on a tenant has one more, in the operators' trail."""
    [record, *copies] = sorted(worker.audit.records.values(), key=lambda each: each.on_tenant is not None)
    assert record.on_tenant is None
    assert [copy.on_tenant for copy in copies] in ([], [record.tenant])
    return record


async def refused(worker: InMemoryWorker, operation: str, **fields: Any) -> None:
    with pytest.raises(AuthError):
        await worker.call(OPERATIONS[operation], **fields)


def test_operation_is_recorded_unless_it_only_reads() -> None:
    """An unrecorded operation changes nothing and checks no password."""
    reads = {
        "principal.get",
        "tenant.verify",
        "auth.verify",
        "user.get",
        "user.list",
        "session.list",
        "event.list",
        "token.introspect",
        "key.list",
        "oauth.token",
        "operator.list",
        AUDIT_LIST.name,
        "tenant.list",
        "tenant.get",
        "user.search",
        AUDIT_SEARCH.name,
        "settings.get",
    }
    assert set(OPERATIONS) == set(AUDITED) | reads | {f"health.{lane}" for lane in Lane}
    assert set(RECORDED) == set(AUDITED)


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("name", RECORDED)
async def test_operation_leaves_one_record_even_if_sent_twice(worker: InMemoryWorker, shop: str, name: str) -> None:
    """The record holds the tenant, the account and the revocation reason."""
    token = await worker.login(shop)
    session = await worker.session_of(token)
    key, api_key = an_api_key(tenant=session.tenant, login=f"tenant:{EMAIL}")
    await worker.sessions.add(key)
    office = await worker.open_office()
    operator = await worker.operator_login(office)
    fixed = (EMAIL, PASSWORD, shop, token, session.id, REGISTRATION_KEY)
    code = await worker.reset_code(operator, session.tenant)
    accounts = Accounts(*fixed, key.id, api_key, office, operator, tenant=session.tenant, reset_code=code)
    worker.audit.records.clear()
    login, reason, changed = RECORDED[name]
    for _ in range(2):
        await worker.call(OPERATIONS[name], "message", **accounts.request(name))
        worker.clock.advance(timedelta(seconds=1))
        record = record_of(worker)
        assert (record.type, record.outcome, record.login) == (name, "ok", login)
        assert (record.reason, record.changed, record.attempts) == (reason, changed, 1)
        assert (record.tenant == session.tenant) == (name != "tenant.register" and not name.startswith("operator."))
        assert (record.tenant == worker.ports.operator_tenant) == name.startswith("operator.")
        if name in {"auth.logout", "session.revoke", "token.revoke"}:
            assert record.session == session.id
        if name in {"key.rotate", "key.revoke"}:
            assert record.session == key.id
        if name in {"tenant.update", "tenant.delete"}:  # its token is revoked, so a second request would be refused
            break


async def test_login_record_holds_session_device_and_address(worker: InMemoryWorker, shop: str) -> None:
    """The tenant's product states device and address."""
    await worker.create(shop)
    worker.audit.records.clear()
    token = await worker.login(shop, clientAddress="192.0.2.1")
    record = record_of(worker)
    assert (record.session, record.device_id) == ((await worker.session_of(token)).id, "phone")
    assert record.client_address == "192.0.2.1"


async def test_tenant_login_record_of_a_service_has_its_name_and_no_address(worker: InMemoryWorker, shop: str) -> None:
    """The address that a service states counts only for logins of its users."""
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


async def test_requests_with_the_same_message_id_are_recorded_separately(worker: InMemoryWorker, shop: str) -> None:
    """The caller chooses the message id, so it must not hide a record."""
    for login in ("ann", "bob"):
        await worker.create(shop, login)
    worker.audit.records.clear()
    for login in ("ann", "bob"):
        await worker.call(USER_DELETE, "message", tenantToken=shop, login=login)
    assert {record.login for record in worker.audit.records.values()} == {"ann", "bob"}


@pytest.mark.usefixtures("ann")
async def test_failed_logins_of_a_user_are_recorded_once_a_minute_with_their_number(
    worker: InMemoryWorker, shop: str
) -> None:
    """Records are separate by outcome and address."""
    worker.audit.records.clear()
    for number in range(LIMIT.undelayed + 3):
        where = "192.0.2.1" if number < 3 else "192.0.2.2"
        await refused(
            worker, "auth.login", tenantToken=shop, login="ann", password="x", deviceId="d", clientAddress=where
        )
    by_outcome = {(record.outcome, record.client_address): record for record in worker.audit.records.values()}
    assert {key: record.attempts for key, record in by_outcome.items()} == {
        ("invalid_credentials", "192.0.2.1"): 3,
        ("invalid_credentials", "192.0.2.2"): 2,
        ("throttled", "192.0.2.2"): 3,
    }
    assert {record.login for record in by_outcome.values()} == {"ann"}
    worker.clock.advance(timedelta(minutes=1))
    await refused(worker, "auth.login", tenantToken=shop, login="ann", password="x", deviceId="d")
    assert len(worker.audit.records) == 4


async def test_failed_logins_of_unknown_users_are_one_record_without_the_login(
    worker: InMemoryWorker, shop: str
) -> None:
    """A login may be a mistyped password. All addresses share one record a minute."""
    worker.audit.records.clear()
    for number in range(20):
        fields = {"password": "x", "deviceId": "d", "clientAddress": f"192.0.2.{number}"}
        await refused(worker, "auth.login", tenantToken=shop, login=f"my password {number}", **fields)
    record = record_of(worker)
    assert (record.outcome, record.login, record.attempts) == ("invalid_credentials", None, 20)


@pytest.mark.usefixtures("shop")
async def test_failed_tenant_login_is_recorded_for_an_existing_tenant_only(worker: InMemoryWorker) -> None:
    worker.audit.records.clear()
    for email in (EMAIL, "nobody@example.com"):
        await refused(worker, "tenant.login", email=email, password="wrong", clientAddress="192.0.2.1")
    record = record_of(worker)
    assert (record.login, record.client_address) == (f"tenant:{EMAIL}", "192.0.2.1")


@pytest.mark.parametrize("name", ["tenant.update", "tenant.disable", "tenant.delete"])
async def test_wrong_password_with_a_tenant_token_is_recorded(worker: InMemoryWorker, shop: str, name: str) -> None:
    """The record may reveal a stolen token."""
    worker.audit.records.clear()
    password = "currentPassword" if name == "tenant.update" else "password"
    await refused(worker, name, tenantToken=shop, **{password: "wrong"})
    record = record_of(worker)
    assert (record.type, record.outcome, record.login) == (name, "invalid_credentials", f"tenant:{EMAIL}")


@pytest.mark.usefixtures("ann")
async def test_unauthorized_request_leaves_no_record(worker: InMemoryWorker, shop: str) -> None:
    """This includes wrong registration keys and requests about unknown users or tokens."""
    token = await worker.login(shop)
    worker.audit.records.clear()
    await refused(worker, "auth.login", tenantToken=token, login="ann", password=PASSWORD, deviceId="d")
    await refused(worker, "user.delete", tenantToken="none", login="ann")
    await refused(worker, "tenant.delete", email=EMAIL, registrationKey="wrong")
    await refused(worker, "tenant.enable", email=EMAIL, registrationKey="wrong")
    await refused(worker, "user.delete", tenantToken=shop, login="nobody")
    await worker.call(TOKEN_REVOKE, tenantToken=shop, token="none")
    assert worker.audit.records == {}


async def test_operation_with_the_registration_key_is_recorded_as_by_the_operator(
    worker: InMemoryWorker, shop: str
) -> None:
    """Tenants can distinguish it from operations with their token."""
    worker.audit.records.clear()
    tenant = (await worker.session_of(shop)).tenant
    await worker.call(TENANT_DELETE, email=EMAIL, registrationKey=REGISTRATION_KEY)
    record = record_of(worker)
    assert (record.tenant, record.login, record.by_operator) == (tenant, f"tenant:{EMAIL}", True)


@pytest.mark.parametrize(("key", "by_operator"), [(REGISTRATION_KEY, True), ("some other key", False), (None, False)])
async def test_registration_with_a_wrong_key_is_not_recorded_as_by_the_operator(
    worker: InMemoryWorker, key: str | None, *, by_operator: bool
) -> None:
    """The address alone allows the registration here."""
    shown = {} if key is None else {"registrationKey": key}
    await worker.call(TENANT_REGISTER, email="bank@example.com", password=PASSWORD, **shown)
    assert record_of(worker).by_operator is by_operator


class UnavailableAudit(FakeAudit):
    """A database that stores no audit records."""

    async def append(self, record: StoredAuditRecord) -> None:  # noqa: ARG002 - the port's signature
        raise Unavailable


async def test_login_succeeds_without_its_audit_record(caplog: pytest.LogCaptureFixture) -> None:
    """The lost record is logged without secrets."""
    worker = InMemoryWorker(audit=UnavailableAudit())
    shop = await worker.register()
    await worker.create(shop)
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        assert await worker.login(shop)
    [line] = caplog.records
    assert (line.message, vars(line)["operation"]) == ("audit record is lost", AUTH_LOGIN.name)


async def test_audit_records_hold_no_secret(worker: InMemoryWorker, shop: str) -> None:
    """No password, right or wrong, no token and no key."""
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
