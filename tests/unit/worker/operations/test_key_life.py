"""The life of an API key: events that end it, events that do not, and places where a key is no credential."""

from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.errors import AuthError, InvalidTenantToken, InvalidToken, Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.tenant_update import TENANT_UPDATE
from shared.contracts.user import User
from tests.fakes import REGISTRATION_KEY, FakeSessions
from tests.records import a_key as a_request_key
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from tests.unit.worker.operations.keys import listed, works
from worker.domain.records import StoredSession

EMAIL = "shop@example.com"
NEW_PASSWORD = "another fine password"


async def change_password(worker: InMemoryWorker, token: str, message_id: str | None = None, **fields: Any) -> str:
    """Change the tenant's password, and return its new token."""
    wanted = {"currentPassword": PASSWORD, "password": NEW_PASSWORD, **fields}
    return (await worker.call(TENANT_UPDATE, message_id, tenantToken=token, **wanted)).token


@pytest.mark.parametrize("fields", [{}, {"password": None}, {"revokeKeys": False}], ids=str)
async def test_key_survives_new_tenant_tokens_and_logout(
    worker: InMemoryWorker, shop: str, fields: dict[str, Any]
) -> None:
    issued = await worker.create_key(shop)
    if fields.get("password", PASSWORD) is None:
        token = (await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD)).token
    else:
        token = await change_password(worker, shop, **fields)
    assert await works(worker, issued.api_key)
    await worker.call(TENANT_LOGOUT, token=token)
    assert await works(worker, issued.api_key)
    assert not await works(worker, shop)


async def test_password_change_revokes_keys_if_asked(worker: InMemoryWorker, shop: str) -> None:
    """Users stay logged in. A retry revokes no key that was created since."""
    issued = await worker.create_key(shop)
    await worker.create(shop)
    user_token = await worker.login(shop)
    token = await change_password(worker, shop, "message", revokeKeys=True)
    assert not await works(worker, issued.api_key)
    assert await listed(worker, token) == ()
    assert [*worker.events.reasons.values()] == [RevocationReason.PASSWORD_CHANGED] * 2
    assert await worker.verify(token, user_token)
    later = await worker.create_key(token)
    await change_password(worker, shop, "message", revokeKeys=True)
    assert await works(worker, later.api_key)


async def test_message_id_with_and_without_the_revocation_of_keys_is_not_the_same_request(
    worker: InMemoryWorker, shop: str
) -> None:
    issued = await worker.create_key(shop)
    token = await change_password(worker, shop, "message")
    await change_password(worker, token, "message", currentPassword=NEW_PASSWORD, revokeKeys=True)
    assert not await works(worker, issued.api_key)


@pytest.mark.parametrize("operation", ["tenant.disable", "tenant.delete"])
async def test_key_ends_with_its_tenant(worker: InMemoryWorker, shop: str, operation: str) -> None:
    """Also a key that is older than a change of the password."""
    issued = await worker.create_key(shop)
    token = await change_password(worker, shop)
    await worker.call(OPERATIONS[operation], tenantToken=token, password=NEW_PASSWORD)
    assert not await works(worker, issued.api_key)


async def test_key_of_a_disabled_tenant_stays_revoked_after_enabling(worker: InMemoryWorker, shop: str) -> None:
    issued = await worker.create_key(shop)
    await worker.call(TENANT_DISABLE, tenantToken=shop, password=PASSWORD)
    await worker.call(TENANT_ENABLE, email=EMAIL, registrationKey=REGISTRATION_KEY)
    assert not await works(worker, issued.api_key)


class Meanwhile(FakeSessions):
    """Runs another request's decision, but not yet its revocations, before a key is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.decide: Any = None

    async def add(self, session: StoredSession) -> StoredSession:
        if session.key and self.decide:
            await self.decide(session.tenant)
        return await super().add(session)


@pytest.mark.parametrize(
    ("reason", "revoke_keys"),
    [(RevocationReason.TENANT_DISABLED, False), (RevocationReason.PASSWORD_CHANGED, True)],
)
async def test_key_that_is_stored_after_the_decision_to_revoke_keys_does_not_survive(
    reason: RevocationReason, *, revoke_keys: bool
) -> None:
    """The sessions of the decision were revoked before the key was there, so that nothing else would revoke it."""
    sessions = Meanwhile()
    worker = InMemoryWorker(sessions=sessions)
    shop = await worker.register()
    kept: list[str] = []

    async def decide(tenant: str) -> None:
        kept.append(tenant)
        await worker.tenants.decide_revocation(tenant, reason, a_request_key(), revoke_keys=revoke_keys)

    sessions.decide = decide
    with pytest.raises(Unavailable):
        await worker.create_key(shop)
    assert await sessions.live_keys(kept[0], worker.clock.now(), 10) == []


async def test_user_logged_in_by_an_old_key_stays_so_until_the_tenant_is_disabled(
    worker: InMemoryWorker, shop: str, ann: User
) -> None:
    issued = await worker.create_key(shop, permissions=["auth:login", "tokens:verify"])
    token = await change_password(worker, shop)
    user_token = await worker.login(issued.api_key)
    assert (await worker.verify(issued.api_key, user_token)).id == ann.id
    await worker.call(TENANT_DISABLE, tenantToken=token, password=NEW_PASSWORD)
    await worker.call(TENANT_ENABLE, email=EMAIL, registrationKey=REGISTRATION_KEY)
    token = await worker.call(OPERATIONS["tenant.login"], email=EMAIL, password=NEW_PASSWORD)
    with pytest.raises(InvalidToken):
        await worker.verify(token.token, user_token)


@pytest.mark.parametrize("name", ["tenant.verify", "tenant.logout"])
async def test_key_is_no_tenant_token(worker: InMemoryWorker, shop: str, name: str) -> None:
    issued = await worker.create_key(shop)
    with pytest.raises(InvalidToken):
        await worker.call(OPERATIONS[name], token=issued.api_key)
    assert await works(worker, issued.api_key)


@pytest.mark.parametrize("name", ["tenant.update", "tenant.disable", "tenant.delete"])
async def test_key_is_no_proof_of_the_tenant_even_with_its_password(
    worker: InMemoryWorker, shop: str, name: str
) -> None:
    issued = await worker.create_key(shop)
    password = "currentPassword" if name == "tenant.update" else "password"
    with pytest.raises(InvalidTenantToken):
        await worker.call(OPERATIONS[name], tenantToken=issued.api_key, **{password: PASSWORD})


async def test_key_is_useless_in_another_tenant(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """It neither reads its users, nor verifies their tokens, nor lists, rotates or revokes its keys."""
    token = await worker.login(shop)
    own = await worker.create_key(shop)
    bank = await worker.register("bank@example.com")
    permissions = ["users:read", "tokens:verify", "keys:read", "keys:write", "auth:login"]
    foreign = await worker.create_key(bank, permissions=permissions)
    assert [key.id for key in await listed(worker, foreign.api_key)] == [foreign.key.id]
    requests: dict[str, dict[str, Any]] = {
        "user.get": {"login": ann.login},
        "user.list": {"onTenant": ann.tenant},
        "auth.login": {"login": ann.login, "password": PASSWORD, "deviceId": "phone"},
        "key.rotate": {"id": own.key.id},
        "key.revoke": {"id": own.key.id},
    }
    for name, fields in requests.items():
        with pytest.raises(AuthError):
            await worker.call(OPERATIONS[name], tenantToken=foreign.api_key, **fields)
    with pytest.raises(InvalidToken):
        await worker.verify(foreign.api_key, token)
    assert await works(worker, own.api_key)


async def test_use_of_a_key_is_queued_to_the_minute(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """By a verification, too. A request that is refused is no use."""
    issued = await worker.create_key(shop)
    token = await worker.login(shop)
    assert worker.activity.last_used == {}
    with pytest.raises(InvalidTenantToken):
        await worker.verify(issued.api_key[:-7] + "x" * 7, token)
    assert worker.activity.last_used == {}
    assert (await worker.verify(issued.api_key, token)).id == ann.id
    assert worker.activity.last_used == {issued.key.id: worker.clock.now()}
    await worker.call(AUTH_LOGIN, tenantToken=shop, login="ann", password=PASSWORD, deviceId="phone")
    assert set(worker.activity.last_used) == {issued.key.id}
