"""The contract of the ports that operators' operations use, for the fakes and MongoDB."""

import asyncio
import base64
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from shared.contracts.errors import InvalidCredentials, TenantNotFound, Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.settings import TenantSettings
from tests.contract.test_stolen_database import dumped, leaves
from tests.fakes import NOW, FakeSessions, FakeTenants, FakeUsers
from tests.records import a_key, a_session, a_tenant, a_user
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.ports import Sessions, Tenants, Users
from worker.domain.ports.sessions import COUNT_READS
from worker.domain.records import (
    MAX_RESET_CODES,
    Revocation,
    StoredCounts,
    StoredReset,
    StoredTenant,
    TenantRevocation,
)
from worker.domain.tenant_reset import code_digest, new_code

CHANGED = RevocationReason.PASSWORD_CHANGED
CODE = b"a digest of a code, of 32 bytes."


@dataclass(frozen=True)
class Stores:
    tenants: Tenants
    users: Users
    sessions: Sessions


@pytest.fixture(params=["fake", "mongo"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "fake":
        return Stores(FakeTenants(), FakeUsers(), FakeSessions())
    database = request.getfixturevalue("mongo_database")
    return Stores(MongoTenants(database), MongoUsers(database), MongoSessions(database))


@pytest.fixture
def tenants(stores: Stores) -> Tenants:
    return stores.tenants


async def added(tenants: Tenants, **changes: object) -> StoredTenant:
    tenant = a_tenant(**changes)
    await tenants.add(tenant)
    return tenant


async def stored(tenants: Tenants, tenant: StoredTenant) -> StoredTenant:
    found = await tenants.find(tenant.id)
    assert found is not None
    return found


def a_reset(tenant: StoredTenant, digest: bytes = CODE, key: str = "request") -> StoredReset:
    return StoredReset(key, tenant.generation, NOW + timedelta(hours=1), (digest,))


@pytest.mark.parametrize(
    ("search", "found"),
    [("SHOP", ["a.shop@x.test", "shop@y.test"]), ("@x", ["a.shop@x.test", "b@x.test"]), ("a.s", ["a.shop@x.test"])],
)
async def test_search_matches_a_part_of_the_email_literally(tenants: Tenants, search: str, found: list[str]) -> None:
    for email in ("shop@y.test", "b@x.test", "a.shop@x.test", "axshop+@z.test"):
        await added(tenants, email=email)
    gone = await added(tenants, email="a.shop@x.test.gone")
    await tenants.decide_revocation(gone.id, RevocationReason.TENANT_DELETED, a_key())
    page = await tenants.page(search, "", 10)
    assert [tenant.email for tenant in page if tenant.email != "axshop+@z.test"] == found
    assert [tenant.email for tenant in await tenants.page("p+@", "", 10)] == ["axshop+@z.test"]


async def test_search_continues_after_an_email(tenants: Tenants) -> None:
    for number in range(5):
        await added(tenants, email=f"{number}@x.test")
    assert [tenant.email for tenant in await tenants.page("x", "1@x.test", 2)] == ["2@x.test", "3@x.test"]
    assert await tenants.page("x", "4@x.test", 2) == []


async def test_users_of_all_tenants_are_found_by_whole_login_or_email_in_order_of_id(stores: Stores) -> None:
    wanted = [
        await stores.users.add(a_user(id="1", tenant="shop", login="ann")),
        await stores.users.add(a_user(id="2", tenant="bank", login="ann", email="ann")),
        await stores.users.add(a_user(id="3", tenant="bank", login="other", email="ann")),
    ]
    await stores.users.add(a_user(id="4", tenant="shop", login="anne", email="ann@example.com"))
    gone = await stores.users.add(a_user(id="0", tenant="cafe", login="ann"))
    await stores.users.decide_revocation(gone.tenant, gone.login, RevocationReason.USER_DELETED, a_key())
    assert list(await stores.users.named({"ann", "ANN"}, "", 10)) == wanted
    assert list(await stores.users.named({"ann"}, "1", 1)) == wanted[1:2]
    assert list(await stores.users.named({"ann"}, "3", 10)) == []


async def test_tenants_of_a_login_are_found_up_to_the_limit(stores: Stores) -> None:
    for number in range(3):
        await stores.users.add(a_user(tenant=f"tenant-{number}", login="ann"))
    await stores.users.add(a_user(tenant="bank", login="bob", email="ann"))
    assert await stores.users.tenants_of({"ann"}, 10) == {"tenant-0", "tenant-1", "tenant-2"}
    assert len(await stores.users.tenants_of({"ann", "bob"}, 2)) == 2


async def test_users_are_counted_up_to_the_limit_or_all(stores: Stores) -> None:
    for tenant in ("shop", "shop", "shop", "bank"):
        await stores.users.add(a_user(tenant=tenant))
    assert [await stores.users.count("shop", limit) for limit in (2, 3, 4, None)] == [2, 3, 3, 3]
    assert await stores.users.count("nobody", None) == 0


async def test_live_sessions_of_users_are_counted_up_to_the_limit_or_all(stores: Stores) -> None:
    """Not those of the tenant itself, nor expired or revoked ones."""
    for user in ("ann", "ann", "bob"):
        await stores.sessions.add(a_session(user=user))
    await stores.sessions.add(a_session(user=None, device_id=None))
    await stores.sessions.add(a_session(user="ann", expires_at=NOW))
    await stores.sessions.add(a_session(user="ann", tenant="bank"))
    revoked = await stores.sessions.add(a_session(user="ann"))
    await stores.sessions.revoke(revoked, Revocation(NOW, RevocationReason.LOGOUT))
    counted = [await stores.sessions.count_of_users("shop", NOW, limit) for limit in (2, 3, 4, None)]
    assert counted == [2, 3, 3, 3]
    assert await stores.sessions.count_of_users("nobody", NOW, None) == 0


async def test_too_many_ended_sessions_are_not_read_for_a_count(stores: Stores) -> None:
    for _ in range(COUNT_READS):
        await stores.sessions.add(a_session(expires_at=NOW))
    assert await stores.sessions.count_of_users("shop", NOW, 1) is None
    assert await stores.sessions.count_of_users("shop", NOW, 2) == 0
    assert await stores.sessions.count_of_users("shop", NOW, None) == 0


async def test_requested_counts_are_listed_until_they_are_stored(tenants: Tenants) -> None:
    first, second, third = [await added(tenants) for _ in range(3)]
    await tenants.request_counts([second.id], NOW)
    await tenants.request_counts([first.id, second.id], NOW + timedelta(seconds=1))
    assert list(await tenants.with_requested_counts(10)) == [second.id, first.id]
    assert list(await tenants.with_requested_counts(1)) == [second.id]
    counts = StoredCounts(2_000, 5, NOW)
    await tenants.store_counts(second.id, counts)
    await tenants.store_counts(first.id, None)
    assert list(await tenants.with_requested_counts(10)) == []
    assert [(await stored(tenants, each)).counts for each in (first, second, third)] == [None, counts, None]


async def test_stored_reset_is_found_and_replaced(tenants: Tenants) -> None:
    tenant = await added(tenants)
    first = a_reset(tenant, key="first")
    await tenants.begin_reset(tenant, first)
    assert (await stored(tenants, tenant)).reset == first
    second = a_reset(tenant, b"second", key="second")
    await tenants.begin_reset(tenant, second)
    assert (await stored(tenants, tenant)).reset == second


async def test_deliveries_of_one_reset_keep_each_others_codes_up_to_a_limit(tenants: Tenants) -> None:
    tenant = await added(tenants)
    digests = [bytes([number]) for number in range(MAX_RESET_CODES + 1)]
    for digest in digests:
        await tenants.begin_reset(tenant, a_reset(tenant, digest))
    reset = (await stored(tenants, tenant)).reset
    assert reset is not None
    assert list(reset.digests) == digests[1:]


async def test_concurrent_deliveries_of_one_reset_keep_each_others_codes(tenants: Tenants) -> None:
    tenant = await added(tenants)
    digests = [bytes([number]) for number in range(MAX_RESET_CODES)]
    await asyncio.gather(*(tenants.begin_reset(tenant, a_reset(tenant, digest)) for digest in digests))
    reset = (await stored(tenants, tenant)).reset
    assert reset is not None
    assert sorted(reset.digests) == digests


async def test_reset_of_a_changed_tenant_is_unavailable(tenants: Tenants) -> None:
    tenant = await added(tenants)
    await tenants.decide_revocation(tenant.id, CHANGED, a_key(), "new")
    with pytest.raises(Unavailable):
        await tenants.begin_reset(tenant, a_reset(tenant))
    assert (await stored(tenants, tenant)).reset is None


async def test_code_decides_once_and_sets_the_password(tenants: Tenants) -> None:
    """A repeated request gets its decision."""
    tenant = await added(tenants)
    await tenants.begin_reset(tenant, a_reset(tenant))
    key = a_key()
    decision = await tenants.decide_revocation(tenant.id, CHANGED, key, "new", code_digest=CODE)
    assert decision == TenantRevocation(tenant.id, 1, CHANGED)
    assert await tenants.decide_revocation(tenant.id, CHANGED, key, "other", code_digest=CODE) == decision
    with pytest.raises(InvalidCredentials):
        await tenants.decide_revocation(tenant.id, CHANGED, a_key(), "other", code_digest=CODE)
    assert await stored(tenants, tenant) == replace(tenant, password_hash="new", generation=1)


@pytest.mark.parametrize("spoiled", ["wrong", "expired", "voided", "none"])
async def test_code_that_is_not_live_decides_nothing(tenants: Tenants, spoiled: str) -> None:
    tenant = await added(tenants)
    if spoiled != "none":
        await tenants.begin_reset(tenant, a_reset(tenant))
    if spoiled == "voided":
        await tenants.decide_revocation(tenant.id, RevocationReason.ALL_REVOKED, a_key())
    before = await stored(tenants, tenant)
    key = a_key(at=NOW + timedelta(hours=spoiled == "expired"))
    digest = b"wrong" if spoiled == "wrong" else CODE
    with pytest.raises(InvalidCredentials):
        await tenants.decide_revocation(tenant.id, CHANGED, key, "new", code_digest=digest)
    assert await stored(tenants, tenant) == before


async def test_one_of_concurrent_uses_of_a_code_decides(tenants: Tenants) -> None:
    tenant = await added(tenants)
    await tenants.begin_reset(tenant, a_reset(tenant))
    uses = [tenants.decide_revocation(tenant.id, CHANGED, a_key(), str(n), code_digest=CODE) for n in range(10)]
    outcomes = await asyncio.gather(*uses, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(InvalidCredentials) == 9
    winner = [isinstance(outcome, TenantRevocation) for outcome in outcomes].index(True)
    assert (await stored(tenants, tenant)).password_hash == str(winner)


async def test_decision_with_users_includes_their_sessions(stores: Stores) -> None:
    """Users can log in through older sessions again, unlike after a closing."""
    tenant = await added(stores.tenants)
    await stores.sessions.add(a_session(id="of-a-user", tenant=tenant.id))
    decision = await stores.tenants.decide_revocation(tenant.id, RevocationReason.ALL_REVOKED, a_key(), with_users=True)
    assert decision == TenantRevocation(tenant.id, 1, RevocationReason.ALL_REVOKED, users_before=1)
    [unfinished] = await stores.tenants.unfinished_revocations(NOW + timedelta(days=1), 10)
    assert unfinished == decision
    [revoked] = await stores.sessions.revoke_of_tenant(decision, NOW, 10)
    assert revoked.revocation is not None
    assert revoked.revocation.reason is RevocationReason.ALL_REVOKED
    assert await stores.tenants.admits(tenant.id, 0)


async def test_settings_are_changed_one_by_one(tenants: Tenants) -> None:
    tenant, key = await added(tenants), a_key()
    name = "max_key_lifetime_days"
    changed = await tenants.change_settings(tenant.id, {name: 90}, key)
    assert changed == replace(tenant, settings=TenantSettings(max_key_lifetime_days=90))
    await tenants.change_settings(tenant.id, {name: None}, a_key())
    assert await stored(tenants, tenant) == tenant
    assert await tenants.change_settings(tenant.id, {name: 90}, key) == tenant


async def test_settings_of_an_unknown_tenant_cannot_be_changed(tenants: Tenants) -> None:
    with pytest.raises(TenantNotFound):
        await tenants.change_settings("nobody", {"max_key_lifetime_days": 90}, a_key())


async def test_stolen_database_opens_no_reset(mongo_database: MongoDatabase) -> None:
    """No stored value is a code, and the code is no part of a stored value."""
    tenants = MongoTenants(mongo_database)
    tenant, code = await added(tenants), new_code()
    await tenants.begin_reset(tenant, a_reset(tenant, code_digest(code)))
    reset = (await stored(tenants, tenant)).reset
    assert reset is not None
    values = set(leaves(await dumped(mongo_database)))
    assert code_digest(code) in values
    for value in values:
        assert code.encode() not in value
        for text in (value.decode(errors="replace"), value.hex(), base64.urlsafe_b64encode(value).decode()):
            assert not reset.has_live(code_digest(text), tenant.generation, NOW)
    assert reset.has_live(code_digest(code), tenant.generation, NOW)
