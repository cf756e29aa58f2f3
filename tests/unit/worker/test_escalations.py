"""Attempts to become an operator, or to keep an operator's power after it has been withdrawn."""

from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from pydantic import ValidationError

from shared.contracts.errors import Forbidden, InvalidCredentials, InvalidTenantToken, Throttled, Unavailable
from shared.contracts.key_create import KEY_CREATE
from shared.contracts.key_list import KEY_LIST
from shared.contracts.key_revoke import KEY_REVOKE
from shared.contracts.key_rotate import KEY_ROTATE
from shared.contracts.operator_login import OPERATOR_LOGIN
from shared.contracts.operator_update import OPERATOR_UPDATE
from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.user_create import USER_CREATE
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_update import USER_UPDATE
from tests.fakes import THROTTLE, FakeSessions, FakeTurns, FakeUsers
from tests.records import a_key
from tests.requests import NEW_PASSWORD
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from tests.unit.worker.test_operators import credentials_of_the_office, stored
from worker.domain.call import Call
from worker.domain.records import IdempotencyKey, StoredSession, StoredUser


@pytest.mark.parametrize("credential", ["tenant token", "key", "access token"])
async def test_credential_of_the_operators_tenant_replaces_no_user(worker: InMemoryWorker, credential: str) -> None:
    """Oskar is no operator yet. A caller that creates him again knows his password when he becomes one."""
    office = await worker.open_office()
    before = await stored(worker, "oskar")
    token = (await credentials_of_the_office(worker, office))[credential]
    with pytest.raises(Forbidden):
        await worker.call(USER_DELETE, tenantToken=token, login="oskar")
    assert await stored(worker, "oskar") == before


async def test_repeated_creation_does_not_unlock_a_user_with_a_new_password(worker: InMemoryWorker) -> None:
    """In the operators' tenant whoever has created a user may not unlock it, or could guess its password for ever."""
    office = await worker.open_office()
    bob = {"tenantToken": office, "login": "bob", "email": "bob@example.com", "password": PASSWORD}
    await worker.call(USER_CREATE, "message", **bob)
    olga = {"tenantToken": await worker.operator_login(office), "onTenant": worker.ports.operator_tenant}
    await worker.call(USER_UPDATE, **olga, login="bob", password=NEW_PASSWORD)
    await worker.call(OPERATOR_UPDATE, tenantToken=olga["tenantToken"], login="bob", permissions=["users:read"])
    guess = {"tenantToken": office, "login": "bob", "password": "a wrong password", "deviceId": "laptop"}
    limit = THROTTLE.account
    assert limit is not None
    for _ in range(limit.undelayed):
        with pytest.raises(InvalidCredentials):
            await worker.call(OPERATOR_LOGIN, **guess)
    with pytest.raises(Throttled):
        await worker.call(OPERATOR_LOGIN, **guess)
    await worker.call(USER_CREATE, "message", **bob)
    with pytest.raises(Throttled):
        await worker.call(OPERATOR_LOGIN, **guess)


class DismissingUsers(FakeUsers):
    """Takes the permissions of `dismissed` just before the next write of permissions of another user."""

    dismissed: StoredUser | None = None

    async def replace_operator_permissions(
        self, user: StoredUser, permissions: AbstractSet[Permission], key: IdempotencyKey
    ) -> StoredUser | None:
        if (dismissed := self.dismissed) is not None:
            self.dismissed = None
            await super().replace_operator_permissions(dismissed, frozenset(), a_key())
        return await super().replace_operator_permissions(user, permissions, key)


async def test_operator_that_is_dismissed_meanwhile_makes_no_operator() -> None:
    """Otherwise its accomplice would have power that whoever dismissed it does not see."""
    users = DismissingUsers()
    worker = InMemoryWorker(users=users)
    office = await worker.open_office()
    await worker.add_operator(office, "ada", OPERATOR_PERMISSIONS)
    token = await worker.operator_login(office, "ada")
    users.dismissed = await stored(worker, "ada")
    with pytest.raises(Forbidden):
        await worker.call(OPERATOR_UPDATE, tenantToken=token, login="oskar", permissions=["users:read"])
    oskar = await stored(worker, "oskar")
    assert oskar is not None
    assert oskar.operator_permissions == frozenset()


class DismissingSessions(FakeSessions):
    """Calls `dismiss` just before the next session is stored."""

    dismiss: Any = None

    async def add(self, session: StoredSession) -> StoredSession:
        if (dismiss := self.dismiss) is not None:
            self.dismiss = None
            await dismiss()
        return await super().add(session)


async def test_operator_that_is_dismissed_meanwhile_gets_no_key() -> None:
    sessions = DismissingSessions()
    worker = InMemoryWorker(sessions=sessions)
    office, shop = await worker.open_office(), await worker.register()
    await worker.add_operator(office, "ada", {Permission.KEYS_WRITE, Permission.USERS_READ})
    token, on_tenant = await worker.operator_login(office, "ada"), (await worker.session_of(shop)).tenant
    olga = await worker.operator_login(office)

    async def dismiss() -> None:
        await worker.call(OPERATOR_UPDATE, tenantToken=olga, login="ada", permissions=[])

    sessions.dismiss = dismiss
    with pytest.raises(Unavailable):
        await worker.call(KEY_CREATE, tenantToken=token, onTenant=on_tenant, name="key", permissions=["users:read"])
    assert (await worker.call(KEY_LIST, tenantToken=shop)).keys == ()


class DismissingTurns(FakeTurns):
    """Calls `dismiss` while the next request waits for its turn."""

    dismiss: Any = None

    async def enter(self, group: str, call: Call) -> None:
        if (dismiss := self.dismiss) is not None:
            self.dismiss = None
            await dismiss()
        await super().enter(group, call)


async def test_operator_that_is_dismissed_while_it_waits_its_turn_sets_no_password() -> None:
    """It would know the password of another operator."""
    turns = DismissingTurns()
    worker = InMemoryWorker(turns=turns)
    office = await worker.open_office()
    await worker.add_operator(office, "ada", {Permission.USERS_WRITE})
    await worker.add_operator(office, "bob", {Permission.USERS_WRITE})
    before = await stored(worker, "bob")
    ada = {"tenantToken": await worker.operator_login(office, "ada"), "onTenant": worker.ports.operator_tenant}
    olga = await worker.operator_login(office)

    async def dismiss() -> None:
        await worker.call(OPERATOR_UPDATE, tenantToken=olga, login="ada", permissions=[])

    turns.dismiss = dismiss
    with pytest.raises(Forbidden):
        await worker.call(USER_UPDATE, **ada, login="bob", password=NEW_PASSWORD)
    assert await stored(worker, "bob") == before


async def test_operator_rotates_and_revokes_the_key_that_operators_log_in_with(worker: InMemoryWorker) -> None:
    """Nobody knows the password of a tenant that `worker.bootstrap` has made, so nobody else could."""
    office = await worker.open_office()
    login_key = await worker.create_key(office, permissions=["auth:login"])
    olga = {"tenantToken": await worker.operator_login(office), "onTenant": worker.ports.operator_tenant}
    rotated = await worker.call(KEY_ROTATE, **olga, id=login_key.key.id, overlapSeconds=0)
    assert await worker.operator_login(rotated.api_key)
    with pytest.raises(InvalidTenantToken):
        await worker.operator_login(login_key.api_key)
    await worker.call(KEY_REVOKE, **olga, id=login_key.key.id)
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=rotated.api_key)


@pytest.mark.parametrize("permission", ["tokens:verify", "auth:login"])
async def test_operator_makes_no_key_that_acts_as_the_product_of_a_tenant(
    worker: InMemoryWorker, shop: str, permission: str
) -> None:
    """In the operators' tenant it may make keys that log operators in, and those only."""
    office = await worker.open_office()
    on_tenant = (await worker.session_of(shop)).tenant if permission == "auth:login" else worker.ports.operator_tenant
    olga = {"tenantToken": await worker.operator_login(office), "onTenant": on_tenant}
    with pytest.raises(Forbidden, match=permission):
        await worker.call(KEY_CREATE, **olga, name="key", permissions=[permission])


@pytest.mark.parametrize("operation", [KEY_REVOKE, KEY_ROTATE])
async def test_key_in_place_of_its_id_reaches_no_database(operation: Any) -> None:
    """Databases log queries."""
    asked: list[str] = []

    class Asked(FakeSessions):
        async def find(self, ids: Any) -> Any:
            asked.extend(ids)
            return await super().find(ids)

    worker = InMemoryWorker(sessions=Asked())
    shop = await worker.register()
    issued = await worker.create_key(shop)
    with pytest.raises(ValidationError, match="must be the id of the key, not the key itself"):
        await worker.call(operation, tenantToken=shop, id=issued.api_key)
    assert issued.api_key not in asked
