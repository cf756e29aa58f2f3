"""The operation `key.revoke`."""

from datetime import timedelta

import pytest

from shared.contracts.errors import Forbidden, InvalidTenantToken, KeyNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.key_revoke import KEY_REVOKE
from shared.contracts.permissions import Permission
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operations.keys import listed, rotate, works


async def test_revoked_key_is_refused_with_all_its_secrets(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.create_key(shop)
    second = await rotate(worker, shop, first.key.id)
    assert (await worker.call(KEY_REVOKE, tenantToken=shop, id=first.key.id)).result == 1
    assert [await works(worker, each.api_key) for each in (first, second)] == [False, False]
    assert await listed(worker, shop) == ()


async def test_revocation_is_announced_with_the_id_of_the_key(worker: InMemoryWorker, shop: str) -> None:
    """The event is one of the tenant's own sessions: without a user, with the tenant's login."""
    key = (await worker.create_key(shop)).key
    await worker.call(KEY_REVOKE, tenantToken=shop, id=key.id)
    [session] = worker.events.announced
    event = session.revoked_event("auth.test").data
    assert (event.session_id, event.user, event.login) == (key.id, None, "tenant:shop@example.com")
    assert event.reason == RevocationReason.REVOKED
    assert event.exp == int((worker.clock.now() + timedelta(days=1)).timestamp())


async def test_repeated_request_gets_the_first_result(worker: InMemoryWorker, shop: str) -> None:
    """A request of its own does not: the key is revoked."""
    key = (await worker.create_key(shop)).key.id
    for _ in range(2):
        assert (await worker.call(KEY_REVOKE, "message", tenantToken=shop, id=key)).result == 1
    with pytest.raises(KeyNotFound):
        await worker.call(KEY_REVOKE, tenantToken=shop, id=key)
    assert len(worker.events.announced) == 1


async def test_key_revokes_itself_even_if_the_request_is_repeated(worker: InMemoryWorker, shop: str) -> None:
    issued = await worker.create_key(shop)
    for _ in range(2):
        await worker.call(KEY_REVOKE, "message", tenantToken=issued.api_key, id=issued.key.id)
    other = await worker.create_key(shop)
    for message, key in (("another", issued.key.id), ("message", other.key.id)):
        with pytest.raises(InvalidTenantToken):
            await worker.call(KEY_REVOKE, message, tenantToken=issued.api_key, id=key)
    assert await works(worker, other.api_key)


@pytest.mark.parametrize("gone", ["expired", "of another tenant", "a session", "unknown"])
async def test_key_that_is_not_live_is_not_found(worker: InMemoryWorker, shop: str, gone: str) -> None:
    issued = await worker.create_key(shop, expiresInDays=1)
    caller, key = shop, issued.key.id
    match gone:
        case "expired":
            worker.clock.advance(timedelta(days=1))
        case "of another tenant":
            caller = await worker.register("bank@example.com")
        case "a session":
            key = (await worker.session_of(shop)).id
        case _:
            key = "unknown"
    with pytest.raises(KeyNotFound):
        await worker.call(KEY_REVOKE, tenantToken=caller, id=key)
    assert worker.events.announced == []
    assert await worker.create(shop)


async def test_caller_revokes_no_key_with_more_permissions_than_its_own(worker: InMemoryWorker, shop: str) -> None:
    wide = await worker.create_key(shop, permissions=["users:write"])
    caller = await worker.create_key(shop)
    with pytest.raises(Forbidden) as refused:
        await worker.call(KEY_REVOKE, tenantToken=caller.api_key, id=wide.key.id)
    assert refused.value.details == {"permission": Permission.USERS_WRITE}
    assert await works(worker, wide.api_key)
