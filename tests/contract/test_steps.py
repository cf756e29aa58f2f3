"""Operations on the real database, interrupted before each database step."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.contracts.errors import AuthError, Unavailable
from shared.contracts.wire import WireModel
from tests.contract.stepped import Died, SteppedDatabase, die
from tests.contract.world import NEW_PASSWORD, PASSWORD, RESET_CODE, AnyDatabase, Seen, World
from tests.fakes import REGISTRATION_KEY
from worker.adapters.mongo_database import MongoDatabase

#: More steps than any operation takes.
MAX_STEPS = 30

Answer = WireModel | type[AuthError]


def about_ann(world: World, **fields: Any) -> dict[str, Any]:
    return {"tenantToken": world.tokens["shop"], "login": "ann", **fields}


def about_anns_token(world: World) -> dict[str, Any]:
    return {"tenantToken": world.tokens["shop"], "token": world.tokens["ann's phone"]}


def about_the_tenant(world: World, **fields: Any) -> dict[str, Any]:
    return {"tenantToken": world.tokens["shop"], **fields}


def by_operator(world: World) -> dict[str, Any]:
    return {"tenantToken": world.operator_token, "onTenant": world.tenant}


def by_key(world: World, **fields: Any) -> dict[str, Any]:
    return {"email": world.email, "registrationKey": REGISTRATION_KEY, **fields}


#: Request fields by operation and variant.
REQUESTS: dict[str, Callable[[World], dict[str, Any]]] = {
    "tenant.logout": lambda world: {"token": world.tokens["shop"]},
    "tenant.update": lambda world: about_the_tenant(world, currentPassword=PASSWORD),
    "tenant.update password": lambda world: about_the_tenant(world, currentPassword=PASSWORD, password=NEW_PASSWORD),
    "tenant.disable": lambda world: about_the_tenant(world, password=PASSWORD),
    "tenant.disable by key": by_key,
    "tenant.disable by operator": by_operator,
    "tenant.delete": lambda world: about_the_tenant(world, password=PASSWORD),
    "tenant.delete by key": by_key,
    "tenant.delete by operator": by_operator,
    "tenant.revoke_sessions": by_operator,
    "tenant.complete_reset": lambda world: {"email": world.email, "code": RESET_CODE, "password": NEW_PASSWORD},
    "auth.login": lambda world: about_ann(world, password=PASSWORD, deviceId="watch"),
    "auth.login limited": lambda world: about_ann(world, password=PASSWORD, deviceId="watch"),
    "auth.logout": about_anns_token,
    "token.revoke": about_anns_token,
    "session.revoke": lambda world: about_ann(world, sessionId=world.session_id("ann's phone")),
    "session.revoke_all": about_ann,
    "user.create": lambda world: about_ann(world, login="bob", email="new@example.com", password=PASSWORD),
    "user.update": lambda world: about_ann(world, email="new@example.com"),
    "user.update password": lambda world: about_ann(world, email="new@example.com", password=NEW_PASSWORD),
    "user.delete": about_ann,
}


async def begin(database: MongoDatabase, name: str) -> World:
    """Return the world that the request is sent in."""
    return await World.begin(database, max_sessions_per_user=2 if "limited" in name else 0)


async def send(world: World, name: str, database: AnyDatabase | None = None) -> Answer:
    """Return the answer to one delivery. All deliveries carry one message id."""
    try:
        return await world.call(name.partition(" ")[0], "message", database, **REQUESTS[name](world))
    except AuthError as error:
        return type(error)


def comparable(answer: Answer) -> object:
    """Return the answer without the values that differ between worlds."""
    if not isinstance(answer, WireModel):
        return answer
    return type(answer), answer.model_dump(include={"result", "login", "email"})


def after_sweep(name: str, seen: Seen) -> Seen:
    """Return the state without the session that `tenant.update` opens after its decision."""
    return replace(seen, sessions_in_all=5, sessions_alive=0) if name.startswith("tenant.update") else seen


def without_revoked(name: str, seen: Seen) -> Seen:
    """Return the state without the sessions that were opened and revoked at once."""
    return replace(seen, sessions_in_all=0) if name.startswith("tenant.update") else seen


@pytest.mark.parametrize("name", REQUESTS)
async def test_sweep_after_a_crash_at_any_step_completes_the_request_or_nothing(
    mongo_database: MongoDatabase, name: str
) -> None:
    """The sweep also announces every revocation."""
    world = await begin(mongo_database, name)
    before = await world.seen()
    await send(world, name)
    after = await world.seen()
    assert after != before
    for number in range(MAX_STEPS):
        world = await begin(mongo_database, name)
        database = SteppedDatabase(mongo_database, number, die)
        with contextlib.suppress(Died):
            await send(world, name, database)
        await world.sweep()
        assert after_sweep(name, await world.seen()) in (after_sweep(name, before), after_sweep(name, after))
        assert await world.announced_all_revocations()
        if not database.reached:
            return
    pytest.fail("more steps than MAX_STEPS")


@pytest.mark.parametrize("name", REQUESTS)
async def test_redelivery_after_a_crash_at_any_step_completes_the_request(
    mongo_database: MongoDatabase, name: str
) -> None:
    """The answer is the same as without a crash."""
    world = await begin(mongo_database, name)
    answer = comparable(await send(world, name))
    after = await world.seen()
    for number in range(MAX_STEPS):
        world = await begin(mongo_database, name)
        database = SteppedDatabase(mongo_database, number, die)
        with contextlib.suppress(Died):
            await send(world, name, database)
        assert comparable(await send(world, name)) == answer
        assert await world.seen() == after
        await world.sweep()
        assert await world.seen() == after
        assert await world.announced_all_revocations()
        if not database.reached:
            return
    pytest.fail("more steps than MAX_STEPS")


Following = Callable[[World], Awaitable[object]]


async def nothing(_world: World) -> None:
    pass


async def ann_logs_in(world: World) -> None:
    await world.login()


async def ann_logs_in_with_the_new_password(world: World) -> None:
    await world.login(NEW_PASSWORD)


async def ann_is_changed(world: World) -> None:
    await world.call_about_ann("user.update", email="later@example.com")


async def anns_password_is_changed(world: World) -> None:
    await world.call_about_ann("user.update", password="the third of her passwords")


async def ann_is_deleted(world: World) -> None:
    await world.call_about_ann("user.delete")


async def a_new_user_gets_anns_login(world: World) -> None:
    with contextlib.suppress(AuthError):
        await world.call_about_ann("user.delete")
    await world.call_about_ann("user.create", email="another@example.com", password=PASSWORD)
    await world.login()


async def tenant_logs_in(world: World) -> None:
    await world.call("tenant.login", email=world.email, password=PASSWORD)


async def tenant_is_enabled(world: World) -> None:
    await world.call("tenant.enable", **by_key(world))


async def tenant_is_deleted(world: World) -> None:
    await world.call("tenant.delete", **by_key(world))


async def a_new_tenant_gets_its_email(world: World) -> None:
    with contextlib.suppress(AuthError):
        await world.call("tenant.delete", **by_key(world))
    await world.call("tenant.register", email=world.email, password=PASSWORD)


FOLLOWING: dict[str, tuple[Following, ...]] = {
    "tenant.logout": (nothing,),
    "tenant.update": (nothing, tenant_logs_in, tenant_is_deleted),
    "tenant.update password": (nothing, a_new_tenant_gets_its_email),
    "tenant.disable": (nothing, tenant_is_enabled),
    "tenant.disable by key": (nothing, tenant_is_enabled, a_new_tenant_gets_its_email),
    "tenant.delete": (nothing, a_new_tenant_gets_its_email),
    "tenant.delete by key": (nothing, a_new_tenant_gets_its_email),
    "auth.login": (nothing, ann_is_changed),
    "auth.login limited": (nothing, ann_is_changed),
    "auth.logout": (nothing, ann_logs_in),
    "token.revoke": (nothing, ann_logs_in),
    "session.revoke": (nothing, a_new_user_gets_anns_login),
    "session.revoke_all": (nothing, ann_logs_in, a_new_user_gets_anns_login),
    "user.create": (nothing,),
    "user.update": (nothing, ann_is_changed, ann_is_deleted, a_new_user_gets_anns_login),
    "user.update password": (
        nothing,
        ann_logs_in_with_the_new_password,
        anns_password_is_changed,
        a_new_user_gets_anns_login,
    ),
    "user.delete": (nothing, a_new_user_gets_anns_login),
}


@pytest.mark.parametrize(
    ("name", "follows"),
    [(name, follows) for name, following in FOLLOWING.items() for follows in following],
)
async def test_two_deliveries_interleaved_at_any_step_apply_the_request_once(
    mongo_database: MongoDatabase, name: str, follows: Following
) -> None:
    """Neither delivery undoes a later request."""
    world = await begin(mongo_database, name)
    first = comparable(await send(world, name))
    await follows(world)
    after = await world.seen()
    second = comparable(await send(world, name))
    assert await world.seen() == after
    for number in range(MAX_STEPS):
        world = await begin(mongo_database, name)
        answers: list[Answer] = []

        async def meanwhile(world: World = world, answers: list[Answer] = answers) -> None:
            answers.append(await send(world, name))
            await follows(world)

        database = SteppedDatabase(mongo_database, number, meanwhile)
        answers.append(await send(world, name, database))
        if not database.reached:
            return
        assert without_revoked(name, await world.seen()) == without_revoked(name, after)
        if follows is nothing:
            assert answers[0] == answers[1]
        assert comparable(answers[0]) == first
        # The worker returns no token of a tenant that changed meanwhile; the caller may retry.
        assert comparable(answers[1]) in (first, second, *((Unavailable,) if name.startswith("tenant.update") else ()))
        await world.sweep()
        assert await world.announced_all_revocations()
    pytest.fail("more steps than MAX_STEPS")
