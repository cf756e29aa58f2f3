"""Operators and their tenant: attempts at power that a credential does not have, and what ends an operator's power."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from pydantic import ValidationError

from deploy.permissions import SERVICE_OPERATIONS
from shared.contracts import OPERATIONS
from shared.contracts.audit_list import AUDIT_LIST
from shared.contracts.errors import Forbidden, InvalidTenantToken
from shared.contracts.key_create import KEY_CREATE
from shared.contracts.operation import Operation
from shared.contracts.operator_update import OPERATOR_UPDATE
from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.tenant_delete import TENANT_DELETE
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.user import User
from shared.contracts.user_create import USER_CREATE, UserCreateBody
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_list import USER_LIST
from shared.contracts.user_update import USER_UPDATE, UserUpdateBody
from tests.fakes import NOW, REGISTRATION_KEY, FakeSessions
from tests.requests import NEW_PASSWORD
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from tests.unit.worker.test_principal import a_key, access_token
from worker.domain.records import StoredSession, StoredUser
from worker.importing.importer import Accepted, Refused, read

HASH = "$2b$12$TRbcsR329YC.YSSbpFuv9ubjNm5lA6bjnA48h5s5i/sY8T1P2diF6"
WRITE_USERS = frozenset({Permission.USERS_WRITE})
#: Changes by which a caller could log in as the user, or help to guess its password.
TAKEOVERS: list[dict[str, Any]] = [
    {"password": NEW_PASSWORD},
    {"email": "mine@example.com"},
    {"unlock": True},
    {"email": "mine@example.com", "scope": None},
]


@pytest.fixture
async def office(worker: InMemoryWorker) -> str:
    return await worker.open_office()


async def stored(worker: InMemoryWorker, login: str) -> StoredUser | None:
    return await worker.users.find(worker.ports.operator_tenant or "", login)


async def credentials_of_the_office(worker: InMemoryWorker, office: str) -> dict[str, str]:
    """Return the tenant's own credentials with every permission that they can have."""
    session, key = await a_key(worker, office, permissions=WRITE_USERS)
    return {"tenant token": office, "key": key, "access token": access_token(worker, session, "users:write")}


@pytest.mark.parametrize("credential", ["tenant token", "key", "access token"])
@pytest.mark.parametrize("login", ["olga", "oskar", "nobody"])
@pytest.mark.parametrize("change", TAKEOVERS, ids=",".join)
async def test_credential_of_the_operators_tenant_takes_over_no_user(
    worker: InMemoryWorker, office: str, credential: str, login: str, change: dict[str, Any]
) -> None:
    """Not even of a user that is no operator: it may become one."""
    before = await stored(worker, login)
    token = (await credentials_of_the_office(worker, office))[credential]
    with pytest.raises(Forbidden):
        await worker.call(USER_UPDATE, tenantToken=token, login=login, **change)
    assert await stored(worker, login) == before


@pytest.mark.parametrize(("operation", "change"), [(USER_DELETE, {}), *((USER_UPDATE, change) for change in TAKEOVERS)])
async def test_operator_is_guarded_by_workers_without_the_setting(
    worker: InMemoryWorker, office: str, operation: Operation[Any, Any], change: Any
) -> None:
    """After the bootstrap command, workers get the setting one after another."""
    before = await stored(worker, "olga")
    assert before is not None
    worker.use_operator_tenant(None)
    with pytest.raises(Forbidden):
        await worker.call(operation, tenantToken=office, login="olga", **change)
    assert await worker.users.find(before.tenant, "olga") == before


async def test_credential_of_the_operators_tenant_changes_other_members(worker: InMemoryWorker, office: str) -> None:
    changed = await worker.call(USER_UPDATE, tenantToken=office, login="olga", scope="all", sub="007")
    assert (changed.scope, changed.sub) == ("all", "007")


@pytest.mark.parametrize("credential", ["tenant token", "key", "access token"])
async def test_credential_of_the_operators_tenant_deletes_no_operator(
    worker: InMemoryWorker, office: str, credential: str
) -> None:
    token = (await credentials_of_the_office(worker, office))[credential]
    with pytest.raises(Forbidden):
        await worker.call(USER_DELETE, tenantToken=token, login="olga")
    assert await worker.operator_login(office)


@pytest.mark.parametrize("own", [WRITE_USERS, OPERATOR_PERMISSIONS - {Permission.TENANTS_WRITE}])
@pytest.mark.parametrize(("operation", "change"), [(USER_DELETE, {}), *((USER_UPDATE, change) for change in TAKEOVERS)])
async def test_operator_takes_over_no_operator_with_more_permissions(
    worker: InMemoryWorker, office: str, own: frozenset[Permission], operation: Operation[Any, Any], change: Any
) -> None:
    """Not with `operators:write` either, which permits giving only what it has."""
    await worker.add_operator(office, "ada", own)
    token = await worker.operator_login(office, "ada")
    before = await stored(worker, "olga")
    on_office = {"tenantToken": token, "onTenant": worker.ports.operator_tenant}
    with pytest.raises(Forbidden, match="tenants:write"):
        await worker.call(operation, **on_office, login="olga", **change)
    assert await stored(worker, "olga") == before


@pytest.mark.parametrize(("operation", "change"), [(USER_DELETE, {}), *((USER_UPDATE, change) for change in TAKEOVERS)])
async def test_operator_manages_operators_with_no_more_permissions(
    worker: InMemoryWorker, office: str, operation: Operation[Any, Any], change: Any
) -> None:
    await worker.add_operator(office, "ada", WRITE_USERS)
    await worker.add_operator(office, "bob", WRITE_USERS)
    token = await worker.operator_login(office, "ada")
    on_office = {"tenantToken": token, "onTenant": worker.ports.operator_tenant}
    assert await worker.call(operation, **on_office, login="bob", **change)


@pytest.mark.parametrize(("operation", "change"), [(USER_DELETE, {}), *((USER_UPDATE, change) for change in TAKEOVERS)])
async def test_operator_neither_deletes_itself_nor_changes_its_login_without_its_password(
    worker: InMemoryWorker, office: str, operation: Operation[Any, Any], change: Any
) -> None:
    """A stolen token must not become a password, and the last operator must stay."""
    token = await worker.operator_login(office)
    before = await stored(worker, "olga")
    with pytest.raises(Forbidden):
        await worker.call(operation, tenantToken=token, onTenant=worker.ports.operator_tenant, login="olga", **change)
    assert await stored(worker, "olga") == before


async def test_login_in_another_spelling_is_guarded_alike(worker: InMemoryWorker, office: str) -> None:
    """NFD and NFC name the same user."""
    await worker.add_operator(office, "\u00e9va", OPERATOR_PERMISSIONS)
    await worker.add_operator(office, "ada", WRITE_USERS)
    token = await worker.operator_login(office, "ada")
    on_office = {"tenantToken": token, "onTenant": worker.ports.operator_tenant, "login": "e\u0301va"}
    with pytest.raises(Forbidden):
        await worker.call(USER_DELETE, **on_office)
    with pytest.raises(Forbidden):
        await worker.call(USER_UPDATE, **on_office, password=NEW_PASSWORD)


async def test_rules_of_the_operators_tenant_do_not_concern_other_tenants(
    worker: InMemoryWorker, office: str, shop: str, ann: User
) -> None:
    token = await worker.operator_login(office)
    await worker.call(USER_UPDATE, tenantToken=token, onTenant=ann.tenant, login="ann", unlock=True)
    await worker.call(USER_UPDATE, tenantToken=shop, login="ann", password=NEW_PASSWORD)
    await worker.call(USER_DELETE, tenantToken=shop, login="ann")


@pytest.mark.parametrize("name", ["operatorPermissions", "operator_permissions", "permissions"])
async def test_writers_of_users_ignore_operator_permissions(worker: InMemoryWorker, office: str, name: str) -> None:
    permissions: dict[str, Any] = {name: ["operators:write"]}
    user = {"login": "eve", "email": "eve@example.com", "password": PASSWORD}
    await worker.call(USER_CREATE, tenantToken=office, **user, **permissions)
    await worker.call(USER_UPDATE, tenantToken=office, login="eve", scope="all", **permissions)
    eve = await stored(worker, "eve")
    assert eve is not None
    assert eve.operator_permissions == frozenset()
    assert not {"operator_permissions", "permissions"} & {*UserCreateBody.model_fields, *UserUpdateBody.model_fields}


@pytest.mark.parametrize("name", ["operatorPermissions", "operator_permissions", "permissions"])
def test_import_refuses_operator_permissions(name: str) -> None:
    line = {"login": "eve", "email": "eve@example.com", "passwordHash": HASH}
    [accepted] = read(BytesIO(json.dumps(line).encode()))
    assert isinstance(accepted, Accepted)
    assert accepted.user.to_user("office", NOW).operator_permissions == frozenset()
    [refused] = read(BytesIO(json.dumps({**line, name: ["operators:write"]}).encode()))
    assert isinstance(refused, Refused)


@pytest.mark.parametrize("credential", ["tenant token", "key", "access token"])
async def test_credential_of_another_tenant_cannot_name_the_operators_tenant(
    worker: InMemoryWorker, office: str, shop: str, credential: str
) -> None:
    token = (await credentials_of_the_office(worker, shop))[credential]
    assert office
    with pytest.raises(Forbidden):
        await worker.call(
            USER_CREATE,
            tenantToken=token,
            onTenant=worker.ports.operator_tenant,
            login="eve",
            email="eve@example.com",
            password=PASSWORD,
        )
    assert await stored(worker, "eve") is None


@pytest.mark.parametrize("credential", ["tenant token", "key", "access token"])
async def test_credential_of_the_operators_tenant_has_no_operators_power(
    worker: InMemoryWorker, office: str, shop: str, credential: str
) -> None:
    """Stored permissions of the installation are not read from a key either."""
    session, key = await a_key(worker, office, permissions=frozenset(Permission))
    tokens = {"tenant token": office, "key": key, "access token": access_token(worker, session, "operators:write")}
    token = tokens[credential]
    with pytest.raises(Forbidden):
        await worker.call(OPERATOR_UPDATE, tenantToken=token, login="oskar", permissions=["users:read"])
    with pytest.raises(Forbidden):
        await worker.call(USER_LIST, tenantToken=token, onTenant=(await worker.session_of(shop)).tenant)


async def test_key_made_by_an_operator_has_no_more_than_the_operator(
    worker: InMemoryWorker, office: str, shop: str
) -> None:
    """And never a permission over the installation, nor one to log users in."""
    await worker.add_operator(office, "ada", {Permission.KEYS_WRITE, Permission.USERS_READ, Permission.TENANTS_WRITE})
    on_shop = {
        "tenantToken": await worker.operator_login(office, "ada"),
        "onTenant": (await worker.session_of(shop)).tenant,
        "name": "key",
    }
    made = await worker.call(KEY_CREATE, **on_shop, permissions=["users:read"])
    assert (await worker.call(PRINCIPAL_GET, tenantToken=made.api_key)).permissions == (Permission.USERS_READ,)
    for permission in ("users:write", "auth:login"):
        with pytest.raises(Forbidden, match=permission):
            await worker.call(KEY_CREATE, **on_shop, permissions=[permission])
    with pytest.raises(ValidationError):
        await worker.call(KEY_CREATE, **on_shop, permissions=["tenants:write"])


async def _disable(worker: InMemoryWorker, office: str) -> None:
    await worker.call(TENANT_DISABLE, tenantToken=office, password=PASSWORD)


async def _disable_and_enable(worker: InMemoryWorker, office: str) -> None:
    await _disable(worker, office)
    await worker.call(TENANT_ENABLE, email="office@example.com", registrationKey=REGISTRATION_KEY)


async def _delete(worker: InMemoryWorker, _office: str) -> None:
    await worker.call(TENANT_DELETE, email="office@example.com", registrationKey=REGISTRATION_KEY)


async def _as_other(worker: InMemoryWorker, office: str, operation: Operation[Any, Any], **fields: Any) -> None:
    await worker.add_operator(office, "ada", OPERATOR_PERMISSIONS)
    token = await worker.operator_login(office, "ada")
    await worker.call(operation, tenantToken=token, onTenant=worker.ports.operator_tenant, login="olga", **fields)


async def _new_password(worker: InMemoryWorker, office: str) -> None:
    await _as_other(worker, office, USER_UPDATE, password=NEW_PASSWORD)


async def _delete_user(worker: InMemoryWorker, office: str) -> None:
    await _as_other(worker, office, USER_DELETE)


async def _create_again(worker: InMemoryWorker, office: str) -> None:
    await _delete_user(worker, office)
    await worker.add_operator(office, "olga", OPERATOR_PERMISSIONS)


async def _other_setting(worker: InMemoryWorker, _office: str) -> None:
    worker.use_operator_tenant((await worker.session_of(await worker.register("other@example.com"))).tenant)


async def _no_setting(worker: InMemoryWorker, _office: str) -> None:
    worker.use_operator_tenant(None)


ENDINGS = [
    _disable,
    _disable_and_enable,
    _delete,
    _new_password,
    _delete_user,
    _create_again,
    _other_setting,
    _no_setting,
]


class UnrevokedSessions(FakeSessions):
    """Sessions whose revocations are not carried out yet while `is_behind` is set."""

    is_behind = False

    async def find(self, ids: Sequence[str]) -> dict[str, StoredSession]:
        found = await super().find(ids)
        return {id_: replace(each, revocation=None) for id_, each in found.items()} if self.is_behind else found


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("is_behind", [True, False])
async def test_operators_power_ends_at_once(
    ending: Callable[[InMemoryWorker, str], Awaitable[None]], *, is_behind: bool
) -> None:
    """It ends with the decision already: a crash may delay the revocation of the sessions."""
    sessions = UnrevokedSessions()
    worker = InMemoryWorker(sessions=sessions)
    office = await worker.open_office()
    token = await worker.operator_login(office)
    assert await worker.call(PRINCIPAL_GET, tenantToken=token)
    await ending(worker, office)
    sessions.is_behind = is_behind
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=token)


async def test_operators_request_is_recorded_in_both_trails(
    worker: InMemoryWorker, office: str, shop: str, ann: User
) -> None:
    token = await worker.operator_login(office)
    worker.audit.records.clear()
    for _ in range(2):
        await worker.call(USER_UPDATE, "message", tenantToken=token, onTenant=ann.tenant, login="ann", scope="all")
    [theirs] = (await worker.call(AUDIT_LIST, tenantToken=shop)).records
    [ours] = (await worker.call(AUDIT_LIST, tenantToken=office)).records
    assert (theirs.actor, theirs.login, theirs.on_tenant) == ("operator:olga", "ann", None)
    assert (ours.actor, ours.login, ours.on_tenant) == ("operator:olga", "ann", ann.tenant)
    assert theirs.id != ours.id


async def test_records_name_the_key_that_was_used(worker: InMemoryWorker, shop: str, ann: User) -> None:
    session, key = await a_key(worker, shop, permissions=WRITE_USERS)
    worker.audit.records.clear()
    for number, token in enumerate((shop, key, access_token(worker, session, "users:write"))):
        await worker.call(USER_UPDATE, tenantToken=token, login="ann", scope=str(number))
        worker.clock.advance(timedelta(seconds=1))
    records = (await worker.call(AUDIT_LIST, tenantToken=shop)).records
    assert [record.actor for record in records] == [f"client:{session.id}", f"key:{session.id}", None]
    assert {record.login for record in records} == {ann.login}


def test_operations_of_operators_are_not_for_services() -> None:
    """They are for people, who use an edge."""
    operators = {name for name in OPERATIONS if name.startswith("operator.")}
    assert operators
    assert not operators & {*SERVICE_OPERATIONS}
