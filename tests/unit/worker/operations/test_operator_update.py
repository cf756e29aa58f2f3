"""operator.update"""

import asyncio
from collections.abc import Set as AbstractSet

import pytest

from shared.contracts.errors import Forbidden, InvalidRequest, Unavailable, UserNotFound
from shared.contracts.operator_list import OPERATOR_LIST, Operator
from shared.contracts.operator_update import OPERATOR_UPDATE
from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission
from shared.contracts.principal_get import PRINCIPAL_GET
from tests.fakes import FakeUsers
from tests.records import a_key
from tests.unit.worker.in_memory import InMemoryWorker
from worker.domain.records import IdempotencyKey, StoredUser

WRITE, READ, AUDIT = Permission.OPERATORS_WRITE, Permission.USERS_READ, Permission.AUDIT_READ


async def update(
    worker: InMemoryWorker, token: str, login: str, *permissions: Permission, message_id: str | None = None
) -> Operator:
    return await worker.call(
        OPERATOR_UPDATE, message_id, tenantToken=token, login=login, permissions=sorted(permissions)
    )


async def holders(worker: InMemoryWorker) -> set[str]:
    """Return the logins of the operators that may change permissions."""
    return {user.login for user in await worker.users.operators(worker.ports.operator_tenant, 10, WRITE)}


async def test_given_and_taken_permissions_take_effect_at_once(worker: InMemoryWorker) -> None:
    """Taking them ends the power of tokens that exist."""
    office = await worker.open_office()
    olga = await worker.operator_login(office)
    changed = await update(worker, olga, "oskar", READ, AUDIT)
    assert (changed.login, changed.permissions) == ("oskar", (AUDIT, READ))
    oskar = await worker.operator_login(office, "oskar")
    assert (await worker.call(PRINCIPAL_GET, tenantToken=oskar)).permissions == (AUDIT, READ)
    await update(worker, olga, "oskar", READ)
    assert (await worker.call(PRINCIPAL_GET, tenantToken=oskar)).permissions == (READ,)
    await update(worker, olga, "oskar")
    assert (await worker.call(PRINCIPAL_GET, tenantToken=oskar)).permissions == ()


@pytest.mark.parametrize(
    ("login", "permissions", "lacked"),
    [
        ("oskar", {READ, AUDIT}, "audit:read"),
        ("ada", {WRITE, READ, AUDIT}, "audit:read"),
        ("olga", set(), "audit:read"),
        ("olga", OPERATOR_PERMISSIONS - {AUDIT}, "audit:read"),
    ],
)
async def test_operator_neither_gives_nor_takes_what_it_lacks(
    worker: InMemoryWorker, login: str, permissions: AbstractSet[Permission], lacked: str
) -> None:
    """Not to others, and not to itself."""
    office = await worker.open_office()
    await worker.add_operator(office, "ada", {WRITE, READ})
    before = await worker.users.operators(worker.ports.operator_tenant, 10)
    token = await worker.operator_login(office, "ada")
    with pytest.raises(Forbidden, match=lacked):
        await update(worker, token, login, *permissions)
    assert await worker.users.operators(worker.ports.operator_tenant, 10) == before


async def test_operator_keeps_what_it_cannot_take(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    await worker.add_operator(office, "ada", {WRITE, READ})
    await worker.add_operator(office, "bob", {AUDIT})
    changed = await update(worker, await worker.operator_login(office, "ada"), "bob", AUDIT, READ)
    assert changed.permissions == (AUDIT, READ)


@pytest.mark.parametrize("permission", ["auth:login", "tokens:verify", "tokens:revoke", "everything"])
async def test_permission_that_operators_cannot_have_is_invalid(worker: InMemoryWorker, permission: str) -> None:
    token = await worker.operator_login(await worker.open_office())
    with pytest.raises((InvalidRequest, ValueError), match="permission"):
        await worker.call(OPERATOR_UPDATE, tenantToken=token, login="oskar", permissions=[permission])


async def test_last_operator_with_operators_write_keeps_it(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    await worker.add_operator(office, "ada", OPERATOR_PERMISSIONS - {WRITE})
    token = await worker.operator_login(office)
    with pytest.raises(Forbidden, match="no operator would be left"):
        await update(worker, token, "olga")
    assert await holders(worker) == {"olga"}
    await update(worker, token, "ada", *OPERATOR_PERMISSIONS)
    await update(worker, token, "olga", *OPERATOR_PERMISSIONS - {WRITE})
    assert await holders(worker) == {"ada"}


class MeetingUsers(FakeUsers):
    """While `meet` is set, both of two requests read before either writes."""

    meet: asyncio.Barrier | None = None

    async def replace_operator_permissions(
        self, user: StoredUser, permissions: AbstractSet[Permission], key: IdempotencyKey
    ) -> StoredUser | None:
        if self.meet is not None:
            await self.meet.wait()
            self.meet = None
        return await super().replace_operator_permissions(user, permissions, key)


async def test_operators_that_take_operators_write_from_each_other_leave_one() -> None:
    users = MeetingUsers()
    worker = InMemoryWorker(users=users)
    office = await worker.open_office()
    await worker.add_operator(office, "ada", OPERATOR_PERMISSIONS)
    olga, ada = await worker.operator_login(office), await worker.operator_login(office, "ada")
    users.meet = asyncio.Barrier(2)
    answers = await asyncio.gather(update(worker, olga, "ada"), update(worker, ada, "olga"), return_exceptions=True)
    assert any(isinstance(answer, Forbidden) for answer in answers), answers
    assert all(isinstance(answer, Operator | Forbidden) for answer in answers), answers
    assert await holders(worker)


class LateUsers(FakeUsers):
    """Another operator takes bob's permissions just before a request writes them, if `is_late`."""

    is_late = False

    async def replace_operator_permissions(
        self, user: StoredUser, permissions: AbstractSet[Permission], key: IdempotencyKey
    ) -> StoredUser | None:
        if self.is_late:
            self.is_late = False
            await super().replace_operator_permissions(user, frozenset(), a_key())
        return await super().replace_operator_permissions(user, permissions, key)


async def test_permission_taken_meanwhile_is_not_given_back() -> None:
    """Ada keeps bob's permission, which it may not give."""
    users = LateUsers()
    worker = InMemoryWorker(users=users)
    office = await worker.open_office()
    await worker.add_operator(office, "ada", {WRITE, READ})
    await worker.add_operator(office, "bob", {AUDIT})
    token = await worker.operator_login(office, "ada")
    users.is_late = True
    with pytest.raises(Forbidden, match="audit:read"):
        await update(worker, token, "bob", AUDIT, READ)
    assert "bob" not in {user.login for user in await users.operators(worker.ports.operator_tenant, 10)}


async def test_repeated_update_does_not_undo_a_later_one(worker: InMemoryWorker) -> None:
    token = await worker.operator_login(await worker.open_office())
    await update(worker, token, "oskar", READ, message_id="message")
    await update(worker, token, "oskar")
    assert (await update(worker, token, "oskar", READ, message_id="message")).permissions == ()


async def test_unknown_login_and_user_of_another_tenant_are_not_found(worker: InMemoryWorker, shop: str) -> None:
    await worker.create(shop)
    token = await worker.operator_login(await worker.open_office())
    for login in ("nobody", "ann"):
        with pytest.raises(UserNotFound):
            await update(worker, token, login, READ)


async def test_update_that_never_writes_first_is_unavailable() -> None:
    class Busy(FakeUsers):
        async def replace_operator_permissions(
            self, user: StoredUser, permissions: AbstractSet[Permission], key: IdempotencyKey
        ) -> StoredUser | None:
            return None if busy else await super().replace_operator_permissions(user, permissions, key)

    busy = False
    worker = InMemoryWorker(users=Busy())
    token = await worker.operator_login(await worker.open_office())
    busy = True
    with pytest.raises(Unavailable):
        await update(worker, token, "oskar", READ)


async def test_update_is_recorded_with_its_actor(worker: InMemoryWorker) -> None:
    token = await worker.operator_login(await worker.open_office())
    worker.audit.records.clear()
    await update(worker, token, "oskar", READ)
    [record] = worker.audit.records.values()
    assert (record.tenant, record.login, record.actor) == (worker.ports.operator_tenant, "oskar", "operator:olga")
    assert (record.changed, record.on_tenant) == (("permissions",), None)
    assert (await worker.call(OPERATOR_LIST, tenantToken=token)).operators[1].login == "oskar"
