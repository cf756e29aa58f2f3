"""Operations of API keys on the real database, interrupted before each database step or by another delivery."""

import contextlib
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.errors import AuthError, KeyNotFound, Unavailable
from shared.contracts.key import IssuedKey
from shared.contracts.key_list import KeyListReply
from shared.contracts.operation import Done
from tests.contract.stepped import Died, SteppedDatabase, die
from tests.contract.world import NEW_PASSWORD, PASSWORD, AnyDatabase, World
from worker.adapters.mongo_database import MongoDatabase

#: More steps than any operation takes.
MAX_STEPS = 30
KEY = {"name": "gateway", "permissions": ["keys:read", "users:read"]}


class Keys:
    """A tenant with one API key, `first`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.first = ""
        self.id = ""

    @classmethod
    async def begin(cls, database: MongoDatabase) -> "Keys":
        keys = cls(await World.begin(database))
        issued = await keys.send("key.create")
        assert isinstance(issued, IssuedKey)
        keys.first, keys.id = issued.api_key, issued.key.id
        return keys

    async def send(
        self, name: str, message_id: str | None = None, database: AnyDatabase | None = None, **fields: Any
    ) -> object:
        """Send a request with the tenant's first session. `fields` replace the usual ones."""
        wanted: dict[str, dict[str, Any]] = {
            "key.create": KEY,
            "key.rotate": {"id": self.id, "overlapSeconds": 60},
            "key.revoke": {"id": self.id},
            "tenant.update": {"currentPassword": PASSWORD, "password": NEW_PASSWORD, "revokeKeys": True},
        }
        token = {"tenantToken": self.world.tokens["shop"]}
        return await self.world.call(name, message_id, database, **token, **(wanted[name] | fields))

    async def works(self, api_key: str) -> bool:
        try:
            await self.world.call("user.list", tenantToken=api_key)
        except AuthError:
            return False
        return True

    async def live(self) -> list[str]:
        """Return the ids of the live keys, as the tenant's second session sees them."""
        reply = await self.world.call("key.list", tenantToken=self.world.tokens["shop, too"])
        assert isinstance(reply, KeyListReply)
        return [key.id for key in reply.keys]


async def interrupted(database: MongoDatabase, name: str, number: int) -> tuple[Keys, bool]:
    """Send a request whose worker dies before this step. Return the world, and whether the step was reached."""
    keys = await Keys.begin(database)
    stepped = SteppedDatabase(database, number, die)
    with contextlib.suppress(Died, Unavailable):  # a lookup turns the death into an error
        await keys.send(name, "message", stepped)
    return keys, stepped.reached


@pytest.mark.parametrize("name", ["key.create", "key.rotate"])
async def test_redelivery_after_a_crash_at_any_step_issues_a_key_that_works(
    mongo_database: MongoDatabase, name: str
) -> None:
    """There is one more key, or one more secret of the same key, and the old secret works until the overlap ends."""
    for number in range(MAX_STEPS):
        keys, reached = await interrupted(mongo_database, name, number)
        issued = await keys.send(name, "message")
        assert isinstance(issued, IssuedKey)
        assert await keys.works(issued.api_key)
        assert await keys.works(keys.first)
        assert set(await keys.live()) == {keys.id, issued.key.id}
        assert (issued.key.id == keys.id) == (name == "key.rotate")
        await keys.world.sweep()
        assert await keys.works(issued.api_key)
        keys.world._clock.advance(timedelta(seconds=60))  # noqa: SLF001 - the clock of this world
        assert await keys.works(issued.api_key)
        assert await keys.works(keys.first) == (name == "key.create")
        if not reached:
            assert number > 3
            return
    pytest.fail("more steps than MAX_STEPS")


async def test_key_is_whole_or_missing_after_a_crash_at_any_step(mongo_database: MongoDatabase) -> None:
    """Without a redelivery. The tenant sees a key whose secret nobody knows, and can revoke it."""
    for number in range(MAX_STEPS):
        keys, reached = await interrupted(mongo_database, "key.create", number)
        others = set(await keys.live()) - {keys.id}
        assert len(others) <= 1
        for each in others:
            await keys.send("key.revoke", id=each)
        assert await keys.live() == [keys.id]
        if not reached:
            return
    pytest.fail("more steps than MAX_STEPS")


async def test_crash_during_a_rotation_leaves_the_old_secret_working_until_the_overlap_ends(
    mongo_database: MongoDatabase,
) -> None:
    """The tenant can rotate again."""
    for number in range(MAX_STEPS):
        keys, reached = await interrupted(mongo_database, "key.rotate", number)
        assert await keys.works(keys.first)
        again = await keys.send("key.rotate", "another message", overlapSeconds=0)
        assert isinstance(again, IssuedKey)
        assert await keys.works(again.api_key)
        assert not await keys.works(keys.first)
        if not reached:
            return
    pytest.fail("more steps than MAX_STEPS")


@pytest.mark.parametrize("name", ["key.revoke", "tenant.update"])
async def test_revocation_is_complete_after_a_crash_at_any_step_and_a_redelivery_or_a_sweep(
    mongo_database: MongoDatabase, name: str
) -> None:
    """A sweep completes a decision, and announces what is revoked."""
    for redelivered in (True, False):
        for number in range(MAX_STEPS):
            keys, reached = await interrupted(mongo_database, name, number)
            before = await keys.works(keys.first)
            if redelivered:
                await keys.send(name, "message")
                assert not await keys.works(keys.first)
            await keys.world.sweep()
            after = await keys.works(keys.first)
            assert after <= before
            seen = await keys.world.seen()
            assert not seen.tenants[0].has_unfinished_decision
            if name == "tenant.update" and seen.tenants[0].password == NEW_PASSWORD:
                assert not after
            assert await keys.world.announced_all_revocations()
            if not reached:
                assert not after
                break
        else:
            pytest.fail("more steps than MAX_STEPS")


async def test_key_created_during_a_password_change_that_revokes_keys_does_not_survive(
    mongo_database: MongoDatabase,
) -> None:
    """Whichever step of the creation the whole change comes before."""
    for number in range(MAX_STEPS):
        keys = await Keys.begin(mongo_database)

        async def change(keys: Keys = keys) -> None:
            await keys.send("tenant.update")

        stepped = SteppedDatabase(mongo_database, number, change)
        issued = None
        with contextlib.suppress(AuthError):
            issued = await keys.send("key.create", "message", stepped)
        if not stepped.reached:
            return
        assert not await keys.works(keys.first)
        if isinstance(issued, IssuedKey):
            assert not await keys.works(issued.api_key)
        sessions = await keys.world._documents("sessions")  # noqa: SLF001 - the documents of this world
        assert not [each for each in sessions if "key" in each and "revocation" not in each]
    pytest.fail("more steps than MAX_STEPS")


async def test_key_revoked_during_a_rotation_stays_revoked(mongo_database: MongoDatabase) -> None:
    for number in range(MAX_STEPS):
        keys = await Keys.begin(mongo_database)

        async def revoke(keys: Keys = keys) -> None:
            assert await keys.send("key.revoke") == Done.now()

        stepped = SteppedDatabase(mongo_database, number, revoke)
        with contextlib.suppress(KeyNotFound):
            issued = await keys.send("key.rotate", "message", stepped)
            assert isinstance(issued, IssuedKey)
            assert await keys.works(issued.api_key) == (not stepped.reached)
        if not stepped.reached:
            return
        assert await keys.live() == []
    pytest.fail("more steps than MAX_STEPS")
