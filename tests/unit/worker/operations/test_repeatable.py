"""Requests that come twice under one message id: the second time they do nothing more, and answer as the first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import AuthError, InvalidCredentials, InvalidToken, LoginTaken, UserNotFound
from shared.contracts.operation import Done, Operation
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.user import User
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_list import USER_LIST
from shared.contracts.user_update import USER_UPDATE
from tests.fakes import REGISTRATION_KEY
from tests.requests import NEW_PASSWORD, Accounts
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.domain import records


@dataclass(frozen=True)
class Scene:
    """A tenant, its user ann, and a token of each; what happens to them."""

    worker: InMemoryWorker
    shop: str
    token: str

    async def send(self, name: str, message_id: str = "message") -> Any:
        """What the usual request of an operation is answered."""
        session = self.worker.ports.tokens.session_id(self.token) or ""
        accounts = Accounts("shop@example.com", PASSWORD, self.shop, self.token, session, REGISTRATION_KEY)
        return await self.worker.call(OPERATIONS[name], message_id, **accounts.request(name))

    async def update(self, **fields: Any) -> None:
        """Another request changes ann."""
        await self.worker.call(USER_UPDATE, tenantToken=self.shop, login="ann", **fields)

    async def delete(self, login: str = "ann") -> None:
        """Another request deletes a user."""
        await self.worker.call(USER_DELETE, tenantToken=self.shop, login=login)

    async def logs_in(self, password: str = PASSWORD) -> str:
        return await self.worker.login(self.shop, password=password)

    async def lives(self, token: str) -> bool:
        try:
            await self.worker.verify(self.shop, token)
        except InvalidToken:
            return False
        return True

    async def stored_users(self) -> Sequence[records.User]:
        """As they are stored, their generations and hashes included; also without a tenant token that lives."""
        return await self.worker.users.page((await self.worker.session_of(self.shop)).tenant, "", "", 10)

    async def users(self) -> dict[str, User]:
        return {user.login: user for user in (await self.worker.call(USER_LIST, tenantToken=self.shop)).users}


@pytest.fixture
async def scene(worker: InMemoryWorker, shop: str) -> Scene:
    await worker.create(shop)
    return Scene(worker, shop, await worker.login(shop))


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_sent_again_it_answers_the_same(scene: Scene, operation: Operation[Any, Any]) -> None:
    """Whatever it is: a caller that lost the first answer may ask again under the same message id, minutes later."""
    assert operation.repeatable
    first = await scene.send(operation.name)
    ended = scene.worker.events.reasons
    users = await scene.stored_users()
    scene.worker.clock.advance(timedelta(minutes=10))
    again = await scene.send(operation.name)
    # A list of events says when it was read; what is in it is the same.
    assert again.model_dump(exclude={"as_of"}) == first.model_dump(exclude={"as_of"})
    assert scene.worker.events.reasons == ended
    assert await scene.stored_users() == users


@pytest.mark.parametrize("name", ["auth.logout", "session.revoke", "token.revoke", "session.revoke_all"])
async def test_who_logged_in_since_stays_logged_in(scene: Scene, name: str) -> None:
    """An ending that comes again ends what it ended, and no session that began later."""
    await scene.send(name)
    later = await scene.logs_in()
    assert await scene.send(name) == Done.now()
    assert await scene.lives(later)
    assert not await scene.lives(scene.token)


@pytest.mark.parametrize("name", ["auth.logout", "session.revoke", "token.revoke", "session.revoke_all", "user.delete"])
@pytest.mark.parametrize("successor", [False, True])
async def test_what_was_ended_is_ended_whatever_followed(scene: Scene, name: str, *, successor: bool) -> None:
    """It answers `Done` also when the user was deleted since, and spares another user who has the login now."""
    await scene.send(name)
    if name != "user.delete":
        await scene.delete()
    later = None
    if successor:
        await scene.worker.create(scene.shop)
        later = await scene.logs_in()
    assert await scene.send(name) == Done.now()
    assert set(await scene.users()) == ({"ann"} if successor else set())
    assert later is None or await scene.lives(later)


async def test_a_tenant_that_logged_in_since_stays_logged_in(scene: Scene) -> None:
    """Its earlier logout comes again, and ends nothing."""
    await scene.send("tenant.logout")
    later = await scene.worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)
    assert await scene.send("tenant.logout") == Done.now()
    await scene.worker.call(USER_LIST, tenantToken=later.token)


@pytest.mark.parametrize("password", [{}, {"password": NEW_PASSWORD}], ids=["without password", "with password"])
async def test_a_change_does_not_undo_a_later_one(scene: Scene, password: dict[str, str]) -> None:
    """It answers the user as it is now, and does not write again."""
    change = {"tenantToken": scene.shop, "login": "ann", "email": "earlier@example.com", "sub": "007", **password}
    await scene.worker.call(USER_UPDATE, "message", **change)
    for number in range(20):
        await scene.update(email=f"later-{number}@example.com")
    again = await scene.worker.call(USER_UPDATE, "message", **change)
    assert (again.email, again.sub) == ("later-19@example.com", "007")
    assert again == (await scene.users())["ann"]


async def test_a_password_does_not_undo_a_later_one(scene: Scene) -> None:
    """The later password stays, and who has logged in with it stays logged in."""
    await scene.send("user.update")
    await scene.update(password="the third of my passwords")
    later = await scene.logs_in("the third of my passwords")
    assert (await scene.send("user.update")).email == "new@example.com"
    assert await scene.lives(later)
    with pytest.raises(InvalidCredentials):
        await scene.logs_in(NEW_PASSWORD)


@pytest.mark.parametrize("password", [{}, {"password": NEW_PASSWORD}], ids=["without password", "with password"])
@pytest.mark.parametrize("successor", [False, True])
async def test_a_change_of_who_is_deleted(scene: Scene, password: dict[str, str], *, successor: bool) -> None:
    """There is no user to answer with, and another user who has the login now is not changed."""
    change = {"tenantToken": scene.shop, "login": "ann", "scope": "everything", **password}
    await scene.worker.call(USER_UPDATE, "message", **change)
    await scene.delete()
    created = await scene.worker.create(scene.shop) if successor else None
    with pytest.raises(UserNotFound):
        await scene.worker.call(USER_UPDATE, "message", **change)
    assert (await scene.users()).get("ann") == created
    assert created is None or await scene.logs_in()


async def test_a_creation_answers_the_user_as_it_is(scene: Scene) -> None:
    """Also when it was changed since, its password included."""
    created = await scene.send("user.create")
    changes = {"email": "bob@example.net", "password": NEW_PASSWORD}
    changed = await scene.worker.call(USER_UPDATE, tenantToken=scene.shop, login="bob", **changes)
    assert await scene.send("user.create") == changed
    assert changed.id == created.id


@pytest.mark.parametrize("successor", [False, True])
async def test_a_creation_does_not_bring_back_who_is_deleted(scene: Scene, *, successor: bool) -> None:
    """It is refused, and creates nobody."""
    await scene.send("user.create")
    await scene.delete("bob")
    created = await scene.worker.create(scene.shop, "bob") if successor else None
    with pytest.raises(LoginTaken):
        await scene.send("user.create")
    assert (await scene.users()).get("bob") == created


REFUSED: list[tuple[str, type[AuthError]]] = [("auth.logout", InvalidToken), ("user.delete", UserNotFound)]


@pytest.mark.parametrize(("name", "error"), REFUSED)
async def test_what_others_have_done_is_not_done_by_this(scene: Scene, name: str, error: type[AuthError]) -> None:
    """A request that comes for the first time is refused as ever, and the second time alike."""
    await scene.send(name, "another message")
    for _ in range(2):
        with pytest.raises(error):
            await scene.send(name)


async def test_a_token_that_ended_by_itself_meanwhile(scene: Scene) -> None:
    """Who asks, and what about, is checked each time: a token that has expired since is no token."""
    await scene.send("auth.logout")
    scene.worker.clock.advance(scene.worker.ports.lifetimes.user)
    with pytest.raises(InvalidToken):
        await scene.worker.call(AUTH_LOGOUT, "message", tenantToken=scene.shop, token=scene.token)


async def test_a_repeated_ending_ends_one_generation(scene: Scene) -> None:
    """However often it comes, it is one decision."""
    for _ in range(3):
        await scene.send("session.revoke_all")
    assert [ann.generation for ann in await scene.stored_users()] == [1]
    await scene.send("session.revoke_all", "another message")
    assert [ann.generation for ann in await scene.stored_users()] == [2]
