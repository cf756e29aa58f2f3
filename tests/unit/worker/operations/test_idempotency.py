"""Idempotency: a request sent again under its message id changes nothing and gets the first result."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import AuthError, InvalidCredentials, InvalidToken, LoginTaken, UserNotFound
from shared.contracts.key import IssuedKey
from shared.contracts.operation import Done, Operation
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.user import User
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_list import USER_LIST
from shared.contracts.user_update import USER_UPDATE
from tests.fakes import REGISTRATION_KEY
from tests.requests import NEW_EACH_TIME, NEW_PASSWORD, Accounts
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.domain import records

#: Times in replies: of reading events, and of counting.
TIMES = {"asOf", "at"}


def timeless(value: Any) -> Any:
    """Return a reply without its times."""
    if isinstance(value, dict):
        return {name: timeless(each) for name, each in value.items() if name not in TIMES}
    return [timeless(each) for each in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Scene:
    """A tenant, its user `ann`, a token of each, and requests about them."""

    worker: InMemoryWorker
    shop: str
    token: str
    key: IssuedKey
    office: str
    operator: str
    tenant: str
    code: str

    async def send(self, name: str, message_id: str = "message") -> Any:
        """Send the usual request of an operation and return the reply."""
        session = self.worker.ports.tokens.session_id(self.token) or ""
        fixed = ("shop@example.com", PASSWORD, self.shop, self.token, session, REGISTRATION_KEY)
        keys, operator = (self.key.key.id, self.key.api_key), (self.office, self.operator)
        accounts = Accounts(*fixed, *keys, *operator, tenant=self.tenant, reset_code=self.code)
        return await self.worker.call(OPERATIONS[name], message_id, **accounts.request(name))

    async def update(self, **fields: Any) -> None:
        """Update Ann by another request."""
        await self.worker.call(USER_UPDATE, tenantToken=self.shop, login="ann", **fields)

    async def delete(self, login: str = "ann") -> None:
        """Delete a user by another request."""
        await self.worker.call(USER_DELETE, tenantToken=self.shop, login=login)

    async def log_in(self, password: str = PASSWORD) -> str:
        return await self.worker.login(self.shop, password=password)

    async def is_live(self, token: str) -> bool:
        try:
            await self.worker.verify(self.shop, token)
        except InvalidToken:
            return False
        return True

    async def stored_users(self) -> Sequence[records.StoredUser]:
        """Return the stored users with generations and hashes, even without a live tenant token."""
        return await self.worker.users.page((await self.worker.session_of(self.shop)).tenant, "", "", 10)

    async def users(self) -> dict[str, User]:
        return {user.login: user for user in (await self.worker.call(USER_LIST, tenantToken=self.shop)).users}


@pytest.fixture
async def scene(worker: InMemoryWorker, shop: str) -> Scene:
    await worker.create(shop)
    key = await worker.create_key(shop)
    office = await worker.open_office()
    operator, tenant = await worker.operator_login(office), (await worker.session_of(shop)).tenant
    code = await worker.reset_code(operator, tenant)
    return Scene(worker, shop, await worker.login(shop), key, office, operator, tenant, code)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_repeated_request_returns_the_first_result_without_effect(
    scene: Scene, operation: Operation[Any, Any]
) -> None:
    """A caller that lost the answer may retry for minutes."""
    assert operation.repeatable
    first = await scene.send(operation.name)
    ended = scene.worker.events.reasons
    users = await scene.stored_users()
    scene.worker.clock.advance(timedelta(minutes=10))
    again = await scene.send(operation.name)
    varying = NEW_EACH_TIME.get(operation.name, set())
    assert timeless(again.model_dump(exclude=varying)) == timeless(first.model_dump(exclude=varying))
    assert scene.worker.events.reasons == ended
    assert await scene.stored_users() == users


@pytest.mark.parametrize("name", ["auth.logout", "session.revoke", "token.revoke", "session.revoke_all"])
async def test_repeated_revocation_spares_later_sessions(scene: Scene, name: str) -> None:
    await scene.send(name)
    later = await scene.log_in()
    assert await scene.send(name) == Done.now()
    assert await scene.is_live(later)
    assert not await scene.is_live(scene.token)


@pytest.mark.parametrize("name", ["auth.logout", "session.revoke", "token.revoke", "session.revoke_all", "user.delete"])
@pytest.mark.parametrize("successor", [False, True])
async def test_repeated_revocation_after_a_deletion_succeeds(scene: Scene, name: str, *, successor: bool) -> None:
    """A new user with the same login is not affected."""
    await scene.send(name)
    if name != "user.delete":
        await scene.delete()
    later = None
    if successor:
        await scene.worker.create(scene.shop)
        later = await scene.log_in()
    assert await scene.send(name) == Done.now()
    assert set(await scene.users()) == ({"ann"} if successor else set())
    assert later is None or await scene.is_live(later)


async def test_repeated_tenant_logout_spares_a_later_session(scene: Scene) -> None:
    await scene.send("tenant.logout")
    later = await scene.worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)
    assert await scene.send("tenant.logout") == Done.now()
    await scene.worker.call(USER_LIST, tenantToken=later.token)


@pytest.mark.parametrize("password", [{}, {"password": NEW_PASSWORD}], ids=["without password", "with password"])
async def test_repeated_change_does_not_undo_a_later_one(scene: Scene, password: dict[str, str]) -> None:
    """The reply is the current user."""
    change = {"tenantToken": scene.shop, "login": "ann", "email": "earlier@example.com", "sub": "007", **password}
    await scene.worker.call(USER_UPDATE, "message", **change)
    for number in range(20):
        await scene.update(email=f"later-{number}@example.com")
    again = await scene.worker.call(USER_UPDATE, "message", **change)
    assert (again.email, again.sub) == ("later-19@example.com", "007")
    assert again == (await scene.users())["ann"]


async def test_repeated_password_change_does_not_undo_a_later_one(scene: Scene) -> None:
    """Sessions opened with the later password stay live."""
    await scene.send("user.update")
    await scene.update(password="the third of my passwords")
    later = await scene.log_in("the third of my passwords")
    assert (await scene.send("user.update")).email == "new@example.com"
    assert await scene.is_live(later)
    with pytest.raises(InvalidCredentials):
        await scene.log_in(NEW_PASSWORD)


@pytest.mark.parametrize("password", [{}, {"password": NEW_PASSWORD}], ids=["without password", "with password"])
@pytest.mark.parametrize("successor", [False, True])
async def test_repeated_change_of_a_deleted_user_is_refused(
    scene: Scene, password: dict[str, str], *, successor: bool
) -> None:
    """A new user with the same login is not changed."""
    change = {"tenantToken": scene.shop, "login": "ann", "scope": "everything", **password}
    await scene.worker.call(USER_UPDATE, "message", **change)
    await scene.delete()
    created = await scene.worker.create(scene.shop) if successor else None
    with pytest.raises(UserNotFound):
        await scene.worker.call(USER_UPDATE, "message", **change)
    assert (await scene.users()).get("ann") == created
    assert created is None or await scene.log_in()


async def test_repeated_creation_returns_the_current_user(scene: Scene) -> None:
    """Later changes are included."""
    created = await scene.send("user.create")
    changes = {"email": "bob@example.net", "password": NEW_PASSWORD}
    changed = await scene.worker.call(USER_UPDATE, tenantToken=scene.shop, login="bob", **changes)
    assert await scene.send("user.create") == changed
    assert changed.id == created.id


@pytest.mark.parametrize("successor", [False, True])
async def test_repeated_creation_of_a_deleted_user_is_refused(scene: Scene, *, successor: bool) -> None:
    await scene.send("user.create")
    await scene.delete("bob")
    created = await scene.worker.create(scene.shop, "bob") if successor else None
    with pytest.raises(LoginTaken):
        await scene.send("user.create")
    assert (await scene.users()).get("bob") == created


REFUSED: list[tuple[str, type[AuthError]]] = [("auth.logout", InvalidToken), ("user.delete", UserNotFound)]


@pytest.mark.parametrize(("name", "error"), REFUSED)
async def test_request_already_done_under_another_message_id_is_refused(
    scene: Scene, name: str, error: type[AuthError]
) -> None:
    """The second attempt is refused, too."""
    await scene.send(name, "another message")
    for _ in range(2):
        with pytest.raises(error):
            await scene.send(name)


async def test_repeated_request_with_an_expired_token_is_refused(scene: Scene) -> None:
    """Tokens are checked each time."""
    await scene.send("auth.logout")
    scene.worker.clock.advance(scene.worker.ports.lifetimes.user)
    with pytest.raises(InvalidToken):
        await scene.worker.call(AUTH_LOGOUT, "message", tenantToken=scene.shop, token=scene.token)


async def test_repeated_revocation_increments_the_generation_once(scene: Scene) -> None:
    for _ in range(3):
        await scene.send("session.revoke_all")
    assert [ann.generation for ann in await scene.stored_users()] == [1]
    await scene.send("session.revoke_all", "another message")
    assert [ann.generation for ann in await scene.stored_users()] == [2]
