"""The operation `key.list`."""

from datetime import timedelta

import pytest

from shared.contracts.errors import Forbidden
from shared.contracts.key_revoke import KEY_REVOKE
from shared.contracts.permissions import Permission
from tests.records import an_api_key
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operations.keys import listed
from worker.domain.records import StoredKey
from worker.domain.views import milliseconds, public_key


async def test_live_keys_are_listed_newest_first(worker: InMemoryWorker, shop: str) -> None:
    """Keys of other tenants, and expired and revoked ones, are not listed."""
    await worker.create_key(await worker.register("bank@example.com"))
    await worker.create_key(shop, expiresInDays=1)
    worker.clock.advance(timedelta(days=1))
    keys = []
    for _ in range(3):
        keys.append((await worker.create_key(shop)).key)
        worker.clock.advance(timedelta(seconds=1))
    await worker.call(KEY_REVOKE, tenantToken=shop, id=keys[1].id)
    assert await listed(worker, shop) == (keys[2], keys[0])


async def test_list_holds_no_secret(worker: InMemoryWorker, shop: str) -> None:
    issued = await worker.create_key(shop)
    [key] = await listed(worker, shop)
    session = (await worker.sessions.find([key.id]))[key.id]
    assert session.key is not None
    assert issued.api_key[26:] not in key.model_dump_json()
    assert session.key.secrets[0].digest.hex() not in key.model_dump_json()


async def test_list_needs_its_permission(worker: InMemoryWorker, shop: str) -> None:
    issued = await worker.create_key(shop, permissions=["keys:write"])
    with pytest.raises(Forbidden) as refused:
        await listed(worker, issued.api_key)
    assert refused.value.details == {"permission": Permission.KEYS_READ}


def test_last_use_is_shown_in_milliseconds() -> None:
    session, _ = an_api_key({"used_at": an_api_key()[0].issued_at})
    assert isinstance(session.key, StoredKey)
    assert public_key(session).last_used_at == milliseconds(session.issued_at)
