"""The operation `key.rotate`."""

import asyncio
from datetime import timedelta

import pytest

from shared.contracts.errors import Forbidden, InvalidTenantToken, KeyLimitReached, KeyNotFound, Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.key_revoke import KEY_REVOKE
from shared.contracts.permissions import Permission
from tests.fakes import NOW, FakeSessions
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operations.keys import listed, rotate, works
from worker.domain.api_keys import MAX_STORED_SECRETS
from worker.domain.records import Revocation, StoredSession
from worker.domain.views import milliseconds

HOUR = timedelta(hours=1)


async def test_old_secret_works_until_the_overlap_ends(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.create_key(shop)
    second = await rotate(worker, shop, first.key.id, overlapSeconds=3_600)
    assert (first.key.id, first.api_key) != (second.key.id, second.api_key)
    assert second.key.id == first.key.id
    worker.clock.advance(HOUR - timedelta(seconds=1))
    assert await works(worker, first.api_key)
    assert await works(worker, second.api_key)
    worker.clock.advance(timedelta(seconds=1))
    assert not await works(worker, first.api_key)
    assert await works(worker, second.api_key)


async def test_overlap_lasts_a_day_unless_asked_otherwise(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.create_key(shop)
    await rotate(worker, shop, first.key.id)
    worker.clock.advance(timedelta(days=1, seconds=-1))
    assert await works(worker, first.api_key)
    worker.clock.advance(timedelta(seconds=1))
    assert not await works(worker, first.api_key)


async def test_rotation_without_overlap_ends_every_other_secret_at_once(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.create_key(shop)
    second = await rotate(worker, shop, first.key.id)
    third = await rotate(worker, shop, first.key.id, overlapSeconds=0)
    assert [await works(worker, each.api_key) for each in (first, second, third)] == [False, False, True]


async def test_later_rotation_prolongs_no_older_secret(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.create_key(shop)
    await rotate(worker, shop, first.key.id, overlapSeconds=60)
    await rotate(worker, shop, first.key.id, overlapSeconds=3_600)
    worker.clock.advance(timedelta(seconds=60))
    assert not await works(worker, first.api_key)


async def test_rotated_key_is_valid_for_its_original_time_from_then_on(worker: InMemoryWorker, shop: str) -> None:
    """Rotated again and again, a key never expires, and its time does not grow."""
    issued = await worker.create_key(shop, expiresInDays=30)
    for _ in range(3):
        worker.clock.advance(timedelta(days=20))
        rotated = await rotate(worker, issued.api_key, issued.key.id)
        assert rotated.key.expires_at == milliseconds(worker.clock.now() + timedelta(days=30))
        assert rotated.key.created_at == issued.key.created_at
        issued = rotated


async def test_repeated_request_adds_a_secret_and_ends_none(worker: InMemoryWorker, shop: str) -> None:
    """Whichever reply arrives, its key works; so do the secrets of a rotation that came between."""
    first = await worker.create_key(shop)
    second = await rotate(worker, shop, first.key.id, "message", overlapSeconds=0)
    third = await rotate(worker, shop, first.key.id, "message", overlapSeconds=0)
    assert [await works(worker, each.api_key) for each in (first, second, third)] == [False, True, True]
    fourth = await rotate(worker, shop, first.key.id, overlapSeconds=0)
    late = await rotate(worker, shop, first.key.id, "message", overlapSeconds=0)
    issued = (first, second, third, fourth, late)
    assert [await works(worker, each.api_key) for each in issued] == [False, False, False, True, True]


async def test_request_repeated_too_often_is_unavailable(worker: InMemoryWorker, shop: str) -> None:
    key = (await worker.create_key(shop)).key.id
    issued = [await rotate(worker, shop, key, "message", overlapSeconds=0) for _ in range(4)]
    with pytest.raises(Unavailable):
        await rotate(worker, shop, key, "message", overlapSeconds=0)
    assert all([await works(worker, each.api_key) for each in issued])


async def test_rotation_beyond_four_live_secrets_is_refused_and_ends_none(worker: InMemoryWorker, shop: str) -> None:
    """A rotation without overlap is always possible."""
    first = await worker.create_key(shop)
    issued = [first, *[await rotate(worker, shop, first.key.id) for _ in range(3)]]
    with pytest.raises(KeyLimitReached, match="overlapSeconds"):
        await rotate(worker, shop, first.key.id)
    assert all([await works(worker, each.api_key) for each in issued])
    assert await rotate(worker, shop, first.key.id, overlapSeconds=0)


async def test_concurrent_rotations_lose_no_secret(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.create_key(shop)
    issued = await asyncio.gather(*(rotate(worker, shop, first.key.id) for _ in range(3)))
    assert all([await works(worker, each.api_key) for each in (first, *issued)])


async def test_concurrent_rotations_without_overlap_leave_one_secret(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.create_key(shop)
    issued = await asyncio.gather(*(rotate(worker, shop, first.key.id, overlapSeconds=0) for _ in range(10)))
    assert [await works(worker, each.api_key) for each in issued].count(True) == 1
    assert not await works(worker, first.api_key)


async def test_stored_secrets_are_bounded(worker: InMemoryWorker, shop: str) -> None:
    key = (await worker.create_key(shop)).key.id
    for _ in range(MAX_STORED_SECRETS + 5):
        await rotate(worker, shop, key, overlapSeconds=0)
    stored = (await worker.sessions.find([key]))[key].key
    assert stored is not None
    assert len(stored.secrets) == MAX_STORED_SECRETS
    worker.clock.advance(HOUR)
    await rotate(worker, shop, key, overlapSeconds=0)
    stored = (await worker.sessions.find([key]))[key].key
    assert stored is not None
    assert len(stored.secrets) == 2


async def test_key_rotates_itself(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.create_key(shop)
    second = await rotate(worker, first.api_key, first.key.id)
    assert await works(worker, second.api_key)


async def test_caller_rotates_no_key_with_more_permissions_than_its_own(worker: InMemoryWorker, shop: str) -> None:
    """It would get the secret of that key."""
    wide = await worker.create_key(shop, permissions=["users:write", "keys:write"])
    caller = await worker.create_key(shop)
    with pytest.raises(Forbidden) as refused:
        await rotate(worker, caller.api_key, wide.key.id, overlapSeconds=0)
    assert refused.value.details == {"permission": Permission.USERS_WRITE}
    assert await works(worker, wide.api_key)


async def test_caller_with_networks_rotates_no_key_beyond_them(worker: InMemoryWorker, shop: str) -> None:
    wide = await worker.create_key(shop)
    caller = await worker.create_key(shop, networks=["10.0.0.0/8"])
    with pytest.raises(Forbidden):
        await rotate(worker, caller.api_key, wide.key.id, callerAddress="10.0.0.1")


@pytest.mark.parametrize("gone", ["revoked", "expired", "of another tenant", "no key"])
async def test_key_that_is_not_live_is_not_found(worker: InMemoryWorker, shop: str, gone: str) -> None:
    first = await worker.create_key(shop, expiresInDays=1)
    caller, key = shop, first.key.id
    match gone:
        case "revoked":
            await worker.call(KEY_REVOKE, tenantToken=shop, id=key)
        case "expired":
            worker.clock.advance(timedelta(days=1))
        case "of another tenant":
            caller = await worker.register("bank@example.com")
        case "no key":
            key = (await worker.session_of(shop)).id
    with pytest.raises(KeyNotFound):
        await rotate(worker, caller, key)
    assert not [each for each in await listed(worker, caller) if each.id == key]


class EndsMeanwhile(FakeSessions):
    """Revokes the caller's session while the secrets are replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.caller: StoredSession | None = None

    async def replace_secrets(self, session: StoredSession, changed: StoredSession) -> bool:
        if self.caller:
            await self.revoke(self.caller, Revocation(NOW, RevocationReason.LOGOUT))
        return await super().replace_secrets(session, changed)


async def test_caller_that_is_revoked_meanwhile_learns_no_secret() -> None:
    sessions = EndsMeanwhile()
    worker = InMemoryWorker(sessions=sessions)
    shop = await worker.register()
    issued = await worker.create_key(shop)
    sessions.caller = await worker.session_of(shop)
    with pytest.raises(InvalidTenantToken):
        await rotate(worker, shop, issued.key.id)
