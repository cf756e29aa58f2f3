"""auth.login"""

from datetime import UTC, datetime, timedelta
from typing import Any

import bcrypt
import pytest
from argon2 import PasswordHasher

from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import InvalidCredentials, InvalidToken, Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL
from shared.contracts.user import User
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_update import USER_UPDATE
from tests.fakes import LIFETIMES, NOW, FakeHasher, FakeUsers
from tests.records import a_user
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.adapters.argon2_hasher import Argon2Hasher

ANN: dict[str, Any] = {"login": "ann", "password": PASSWORD, "deviceId": "phone"}


@pytest.mark.parametrize("scope", [None, "read write", {"a": {"b": [1, None]}}])
async def test_user_token_carries_the_claims_of_its_user(worker: InMemoryWorker, shop: str, scope: Any) -> None:
    user = await worker.create(shop, "ann", scope=scope, sub="007")
    token = (await worker.call(AUTH_LOGIN, tenantToken=shop, **ANN)).access_token
    claims = await worker.verify(shop, token)
    expected = {
        "iss": worker.ports.tokens.issuer,
        "aud": user.tenant,
        "sub": "007",
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + LIFETIMES.user).timestamp()),
        "jti": (await worker.session_of(token)).id,
        "id": user.id,
        "login": "ann",
        "tenant": user.tenant,
        "deviceId": "phone",
    }
    assert claims.model_dump(exclude_unset=True) == expected | ({} if scope is None else {"scope": scope})


async def test_login_opens_a_session_with_its_own_secret(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """This holds for two logins from one device."""
    first, second = [await worker.session_of(await worker.login(shop)) for _ in range(2)]
    assert first.id != second.id
    assert first.secret != second.secret
    assert len(first.secret) == 32
    assert first.user == second.user == ann.id


@pytest.mark.usefixtures("ann")
async def test_user_token_expires_after_its_lifetime(worker: InMemoryWorker, shop: str) -> None:
    token = await worker.login(shop)
    worker.clock.advance(LIFETIMES.user - timedelta(seconds=1))
    await worker.verify(shop, token)
    worker.clock.advance(timedelta(seconds=1))
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)


async def test_successful_login_is_recorded_as_activity(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """A failed login is not."""
    with pytest.raises(InvalidCredentials):
        await worker.login(shop, password="wrong")
    assert worker.activity.last_seen == {}
    await worker.login(shop)
    assert worker.activity.last_seen == {ann.id: NOW}


@pytest.mark.usefixtures("ann")
async def test_redelivered_login_returns_the_same_token(worker: InMemoryWorker, shop: str) -> None:
    first = await worker.call(AUTH_LOGIN, "message", tenantToken=shop, **ANN)
    worker.clock.advance(timedelta(seconds=3))
    assert await worker.call(AUTH_LOGIN, "message", tenantToken=shop, **ANN) == first
    assert await worker.call(AUTH_LOGIN, "another", tenantToken=shop, **ANN) != first


async def test_failed_login_gets_the_same_answer_after_the_same_work() -> None:
    """Unknown login, wrong password and another tenant's login cannot be distinguished."""
    hasher = FakeHasher()
    worker = InMemoryWorker(hasher=hasher)
    shop, bank = await worker.register(), await worker.register("bank@example.com")
    await worker.create(shop, "ann")
    await worker.create(bank, "bob")
    answers = []
    for login, password in (("ann", "wrong"), ("nobody", "wrong"), ("nobody", PASSWORD), ("bob", PASSWORD)):
        before = hasher.work
        with pytest.raises(InvalidCredentials) as caught:
            await worker.login(shop, login, password=password)
        answers.append((caught.value.to_reply(), hasher.work - before))
    assert answers == [(InvalidCredentials().to_reply(), 1)] * 4


async def test_login_replaces_a_stale_hash_and_keeps_sessions() -> None:
    hasher = FakeHasher("yesterday")
    worker = InMemoryWorker(hasher=hasher)
    shop = await worker.register()
    user = await worker.create(shop)
    before = await worker.login(shop)
    hasher.parameters = "today"
    await worker.login(shop)
    stored = await worker.users.find(user.tenant, "ann")
    assert stored is not None
    assert not hasher.is_stale(stored.password_hash)
    await worker.verify(shop, before)
    await worker.login(shop)
    assert await worker.users.find(user.tenant, "ann") == stored


@pytest.mark.parametrize("kind", ["bcrypt", "argon2id"])
async def test_login_replaces_an_imported_hash_by_one_with_the_pepper(kind: str) -> None:
    """The new hash covers the whole password. A wrong password changes nothing."""
    password = "correct horse battery staple, " * 3
    imported = {
        "bcrypt": bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode(),
        "argon2id": PasswordHasher(time_cost=1, memory_cost=64, parallelism=2).hash(password),
    }[kind]
    users, hasher = FakeUsers(), Argon2Hasher(threads=1, memory_kib=8, passes=1, peppers={"p": b"p" * 32})
    worker = InMemoryWorker(users=users, hasher=hasher)
    shop = await worker.register()
    tenant = (await worker.create(shop, "bob")).tenant
    ann = a_user(tenant=tenant, login="ann", password_hash=imported)
    await users.add_new([ann])
    with pytest.raises(InvalidCredentials):
        await worker.login(shop, password="wrong")
    assert await users.find(tenant, "ann") == ann
    token = await worker.login(shop, password=password)
    stored = await users.find(tenant, "ann")
    assert stored is not None
    assert stored.password_hash.startswith("p$argon2id$")
    assert not hasher.is_stale(stored.password_hash)
    assert (await worker.verify(shop, token)).sub == ann.sub
    with pytest.raises(InvalidCredentials):
        await worker.login(shop, password=password[:72])
    await worker.login(shop, password=password)
    hasher.close()


class InterruptedHasher(FakeHasher):
    """Runs another operation during `verify`, as another worker may."""

    worker: InMemoryWorker
    meanwhile: tuple[Any, dict[str, str]] | None = None

    async def verify(self, password_hash: str | None, password: str) -> bool:
        right = await super().verify(password_hash, password)
        if self.meanwhile is not None:
            (operation, fields), self.meanwhile = self.meanwhile, None
            await self.worker.call(operation, **fields)
        return right


@pytest.mark.parametrize(
    ("operation", "fields"),
    [(USER_UPDATE, {"password": "another fine password"}), (USER_DELETE, {})],
    ids=["password change", "deletion"],
)
async def test_login_during_a_password_change_or_deletion_leaves_no_session(
    operation: Any, fields: dict[str, str]
) -> None:
    """The login is refused, and its session is revoked."""
    hasher = InterruptedHasher()
    worker = hasher.worker = InMemoryWorker(hasher=hasher)
    shop = await worker.register()
    user = await worker.create(shop)
    hasher.meanwhile = operation, {"tenantToken": shop, "login": "ann", **fields}
    with pytest.raises(Unavailable):
        await worker.login(shop)
    assert hasher.meanwhile is None
    assert await worker.sessions.live_of_user(a_user(id=user.id, tenant=user.tenant), NOW, 10) == []
    assert list(worker.events.reasons.values()) == [RevocationReason.ALL_REVOKED]
    assert len(await worker.sessions.unannounced(user.tenant, datetime.max.replace(tzinfo=UTC), 10)) == 1
    assert worker.activity.last_seen == {}


async def test_login_retried_after_a_race_opens_a_session() -> None:
    """The retry has the same message id."""
    hasher = InterruptedHasher()
    worker = hasher.worker = InMemoryWorker(hasher=hasher)
    shop = await worker.register()
    user = await worker.create(shop)
    hasher.meanwhile = SESSION_REVOKE_ALL, {"tenantToken": shop, "login": "ann"}
    with pytest.raises(Unavailable):
        await worker.call(AUTH_LOGIN, "message", tenantToken=shop, **ANN)
    again = await worker.call(AUTH_LOGIN, "message", tenantToken=shop, **ANN)
    assert (await worker.verify(shop, again.access_token)).id == user.id
    assert await worker.call(AUTH_LOGIN, "message", tenantToken=shop, **ANN) == again


async def test_login_redelivered_after_a_logout_opens_another_session(worker: InMemoryWorker, shop: str) -> None:
    """The caller gave the right password, so a revoked token is no answer."""
    await worker.create(shop)
    first = await worker.call(AUTH_LOGIN, "message", tenantToken=shop, **ANN)
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=first.access_token)
    again = await worker.call(AUTH_LOGIN, "message", tenantToken=shop, **ANN)
    assert (await worker.verify(shop, again.access_token)).login == "ann"


async def test_login_with_the_same_message_id_but_another_device_opens_a_session(
    worker: InMemoryWorker, shop: str
) -> None:
    await worker.create(shop)
    for device in ("phone", "laptop"):
        reply = await worker.call(AUTH_LOGIN, "message", tenantToken=shop, **{**ANN, "deviceId": device})
        assert (await worker.verify(shop, reply.access_token)).device_id == device
