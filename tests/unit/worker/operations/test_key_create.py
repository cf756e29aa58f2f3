"""The operation `key.create`."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shared.contracts.api_key import api_key_id
from shared.contracts.errors import (
    Forbidden,
    InvalidTenantToken,
    KeyLimitReached,
    KeyNotFound,
    Unavailable,
)
from shared.contracts.events import RevocationReason
from shared.contracts.key_create import KEY_CREATE, MAX_KEYS
from shared.contracts.key_revoke import KEY_REVOKE
from shared.contracts.permissions import Permission
from tests.fakes import NOW, FakeSessions
from tests.records import an_api_key
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operations.keys import listed, works
from worker.domain.records import Revocation, StoredSession
from worker.domain.views import milliseconds

#: The permissions of keys that `create_key` creates.
SOME = ["keys:read", "keys:write", "tokens:verify"]


async def test_created_key_works_and_is_shown_with_its_members(worker: InMemoryWorker, shop: str) -> None:
    issued = await worker.create_key(shop, networks=["10.1.2.0/24"], expiresInDays=30)
    assert api_key_id(issued.api_key) == issued.key.id
    assert (issued.key.name, issued.key.permissions, issued.key.networks) == ("gateway", tuple(SOME), ("10.1.2.0/24",))
    assert issued.key.created_by == "tenant:shop@example.com"
    assert issued.key.created_at == milliseconds(NOW)
    assert issued.key.expires_at == milliseconds(NOW + timedelta(days=30))
    assert issued.key.last_used_at is None
    assert await listed(worker, shop) == (issued.key,)


async def test_key_expires_after_a_year_unless_asked_otherwise(worker: InMemoryWorker, shop: str) -> None:
    issued = await worker.create_key(shop)
    worker.clock.advance(timedelta(days=365, seconds=-1))
    assert await works(worker, issued.api_key)
    worker.clock.advance(timedelta(seconds=1))
    assert not await works(worker, issued.api_key)


async def test_repeated_request_adds_a_secret_to_the_same_key(worker: InMemoryWorker, shop: str) -> None:
    """Only a digest of the first secret is stored. Whichever reply arrives, its key works."""
    first = await worker.create_key(shop, "message")
    second = await worker.create_key(shop, "message")
    assert first.key == second.key
    assert first.api_key != second.api_key
    assert await works(worker, first.api_key)
    assert await works(worker, second.api_key)
    assert len(await listed(worker, shop)) == 1


async def test_parallel_deliveries_of_one_request_create_one_key(worker: InMemoryWorker, shop: str) -> None:
    issued = await asyncio.gather(*(worker.create_key(shop, "message") for _ in range(4)))
    assert len({each.key.id for each in issued}) == 1
    assert all([await works(worker, each.api_key) for each in issued])


async def test_request_repeated_more_than_three_times_is_unavailable(worker: InMemoryWorker, shop: str) -> None:
    issued = [await worker.create_key(shop, "message") for _ in range(4)]
    with pytest.raises(Unavailable):
        await worker.create_key(shop, "message")
    assert all([await works(worker, each.api_key) for each in issued])


@pytest.mark.parametrize(
    "other", [{"name": "another"}, {"permissions": ["users:read"]}, {"expiresInDays": 1}, {"networks": ["10.0.0.0/8"]}]
)
async def test_message_id_with_another_payload_creates_another_key(
    worker: InMemoryWorker, shop: str, other: dict[str, Any]
) -> None:
    first = await worker.create_key(shop, "message")
    assert (await worker.create_key(shop, "message", **other)).key.id != first.key.id


async def test_message_id_of_another_tenant_creates_another_key(worker: InMemoryWorker, shop: str) -> None:
    bank = await worker.register("bank@example.com")
    assert (await worker.create_key(shop, "message")).key.id != (await worker.create_key(bank, "message")).key.id


async def test_request_repeated_after_a_revocation_makes_no_new_key(worker: InMemoryWorker, shop: str) -> None:
    issued = await worker.create_key(shop, "message")
    await worker.call(KEY_REVOKE, tenantToken=shop, id=issued.key.id)
    with pytest.raises(KeyNotFound):
        await worker.create_key(shop, "message")
    assert await listed(worker, shop) == ()


async def test_key_creates_no_key_with_more_permissions_than_its_own(worker: InMemoryWorker, shop: str) -> None:
    """The error names the first permission that the creator lacks."""
    creator = await worker.create_key(shop)
    assert (await worker.create_key(creator.api_key)).key.created_by == f"key:{creator.key.id}"
    with pytest.raises(Forbidden) as refused:
        await worker.create_key(creator.api_key, permissions=["users:write", "tokens:verify", "events:read"])
    assert refused.value.details == {"permission": Permission.EVENTS_READ}


async def test_key_without_the_permission_creates_no_key(worker: InMemoryWorker, shop: str) -> None:
    creator = await worker.create_key(shop, permissions=["tokens:verify"])
    with pytest.raises(Forbidden) as refused:
        await worker.create_key(creator.api_key, permissions=["tokens:verify"])
    assert refused.value.details == {"permission": Permission.KEYS_WRITE}


@pytest.mark.parametrize(
    ("networks", "allowed"),
    [
        (["10.1.2.0/24"], True),
        (["10.1.2.0/24", "2001:db8:1::/48"], True),
        (["10.0.0.0/8"], False),
        (["10.1.2.0/24", "192.0.2.0/24"], False),
        (["2001:db9::/48"], False),
        ([], False),
    ],
)
async def test_key_with_networks_creates_keys_within_its_networks_only(
    worker: InMemoryWorker, shop: str, networks: list[str], allowed: bool
) -> None:
    """Otherwise a stolen key would make itself one that works from everywhere."""
    creator = await worker.create_key(shop, networks=["10.1.0.0/16", "2001:db8::/32"])
    request: dict[str, Any] = {"callerAddress": "10.1.0.1", "networks": networks}
    if allowed:
        assert await worker.create_key(creator.api_key, **request)
    else:
        with pytest.raises(Forbidden):
            await worker.create_key(creator.api_key, **request)


async def test_tenant_has_at_most_the_maximum_of_live_keys(worker: InMemoryWorker, shop: str) -> None:
    """Revoked and expired keys do not count, and a repeated request finds its key."""
    issued = [await worker.create_key(shop, f"message {number}", expiresInDays=1) for number in range(MAX_KEYS)]
    with pytest.raises(KeyLimitReached):
        await worker.create_key(shop)
    assert (await worker.create_key(shop, "message 7", expiresInDays=1)).key.id == issued[7].key.id
    await worker.call(KEY_REVOKE, tenantToken=shop, id=issued[0].key.id)
    assert await worker.create_key(shop)
    worker.clock.advance(timedelta(days=1))
    assert await worker.create_key(shop)


class CountsLate(FakeSessions):
    """Other workers create keys between the first count and the insertion."""

    def __init__(self) -> None:
        super().__init__()
        self.others = 0

    async def add(self, session: StoredSession) -> StoredSession:
        if session.key:
            for _ in range(self.others):
                await super().add(an_api_key(tenant=session.tenant)[0])
        return await super().add(session)


async def test_keys_that_are_created_at_the_same_time_do_not_exceed_the_maximum() -> None:
    sessions = CountsLate()
    worker = InMemoryWorker(sessions=sessions)
    shop = await worker.register()
    sessions.others = MAX_KEYS
    with pytest.raises(KeyLimitReached):
        await worker.create_key(shop)
    assert len(await listed(worker, shop)) == MAX_KEYS


class EndsMeanwhile(FakeSessions):
    """Revokes the creator's session, and only that, while the key is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.creator: StoredSession | None = None
        self.key = ""

    async def add(self, session: StoredSession) -> StoredSession:
        if session.key and self.creator:
            self.key = session.id
            await self.revoke(self.creator, Revocation(NOW, RevocationReason.LOGOUT))
        return await super().add(session)


async def test_key_does_not_survive_the_revocation_of_its_creator_before_it_was_stored() -> None:
    sessions = EndsMeanwhile()
    worker = InMemoryWorker(sessions=sessions)
    shop = await worker.register()
    sessions.creator = await worker.session_of(shop)
    with pytest.raises(Unavailable):
        await worker.create_key(shop)
    key = (await sessions.find([sessions.key]))[sessions.key]
    assert key.revocation is not None
    assert [event.id for event in worker.events.announced] == [key.id]


@pytest.mark.parametrize("credential", ["", "nonsense", "jak_nonsense"])
async def test_request_without_a_live_credential_creates_no_key(worker: InMemoryWorker, credential: str) -> None:
    with pytest.raises((InvalidTenantToken, ValidationError)):
        await worker.create_key(credential)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", ""),
        ("name", "line\nbreak"),
        ("name", "x" * 257),
        ("permissions", []),
        ("permissions", ["users:admin"]),
        ("permissions", ["tenants:read"]),
        ("permissions", "users:read"),
        ("expiresInDays", 0),
        ("expiresInDays", 3_654),
        ("networks", ["10.0.0.1/8"]),
        ("networks", ["10.0.0.0/33"]),
        ("networks", ["::ffff:10.0.0.0/104"]),
        ("networks", ["fe80::%eth0/64"]),
        ("networks", ["example.com"]),
        ("networks", [""]),
        ("networks", [1]),
        ("networks", [f"10.0.{number}.0/24" for number in range(33)]),
        ("networks", None),
    ],
)
def test_bad_member_is_named_without_its_value(member: str, value: object) -> None:
    fields = {"tenantToken": "t", "name": "gateway", "permissions": SOME, member: value}
    with pytest.raises(ValidationError) as refused:
        KEY_CREATE.request.model_validate(fields)
    assert {problem["loc"][0] for problem in refused.value.errors()} == {member}
    assert "10.0.0.1" not in str(refused.value)
    assert "example.com" not in str(refused.value)


def test_networks_are_stored_in_their_shortest_spelling_and_once() -> None:
    networks = ["10.0.0.0/255.0.0.0", "10.0.0.0/8", "192.0.2.7", "2001:DB8:0::/32", "0.0.0.0/0", "::/0"]
    request = KEY_CREATE.request.model_validate(
        {"tenantToken": "t", "name": "gateway", "permissions": SOME, "networks": networks}
    )
    assert request.networks == ("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "0.0.0.0/0", "::/0")
