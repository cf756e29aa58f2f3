"""Throttling of failed logins: retry delays, locks, and whose attempts count together."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.auth_login import AUTH_LOGIN, AuthLoginReply
from shared.contracts.errors import InvalidCredentials, InvalidTenantToken, Throttled, Unavailable, UserNotFound
from shared.contracts.operation import Operation
from shared.contracts.tenant_delete import TENANT_DELETE
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.tenant_update import TENANT_UPDATE
from shared.contracts.user_update import USER_UPDATE
from tests.fakes import LIMIT, REGISTRATION_KEY, THROTTLE, FakeHasher, FakeRegistration, FakeUsers
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.domain.records import StoredUser

HOME, OFFICE, ELSEWHERE = "192.0.2.1", "198.51.100.1", "203.0.113.1"
#: The retry delay after each failure beyond the undelayed ones, in seconds.
WAITS = [1, 2, 4, 8, 16, 32, 60, 60]
#: Maximum of consecutive failures from unknown addresses.
STRANGERS_LIMIT = 100
NEW_PASSWORD = "another fine password"
#: Bounds way long a broken test waits.
PATIENCE_SECONDS = 30


class SeenHasher(FakeHasher):
    """Sets `begun` when a verification starts."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.begun.set()
        return await super().verify(password_hash, password)


class Scene:
    """Two tenants with a user `ann` each, and a count of all hashes."""

    def __init__(self, **worker: Any) -> None:
        self.hasher = SeenHasher()
        self.worker = InMemoryWorker(hasher=self.hasher, **worker)
        self.shop = ""
        self.bank = ""

    async def begin(self) -> "Scene":
        self.shop, self.bank = await self.worker.register(), await self.worker.register("bank@example.com")
        for tenant in (self.shop, self.bank):
            await self.worker.create(tenant)
        return self

    async def login(self, login: str = "ann", password: str = PASSWORD, **fields: Any) -> str:
        return await self.worker.login(self.shop, login, password=password, **fields)

    async def redelivered_login(self, password: str) -> AuthLoginReply:
        """Redeliver a login."""
        fields = {"tenantToken": self.shop, "login": "ann", "password": password, "deviceId": "phone"}
        return await self.worker.redeliver(AUTH_LOGIN, **fields)

    async def try_wrong(self, login: str = "ann", **fields: Any) -> str:
        """Log in with a wrong password and return the outcome."""
        return await outcome_of(self.login(login, "wrong", **fields))

    async def try_wrong_tenant(self, email: str, **fields: Any) -> str:
        """Log a tenant in with a wrong password and return the outcome."""
        return await outcome_of(self.worker.call(TENANT_LOGIN, email=email, password="wrong", **fields))

    async def use_undelayed(self, login: str = "ann", **fields: Any) -> None:
        """Make all undelayed wrong attempts."""
        for _ in range(LIMIT.undelayed):
            assert await self.try_wrong(login, **fields) == "wrong"

    async def lose_an_attempt(self) -> None:
        """Start a wrong login whose worker is lost while it hashes."""
        self.hasher.begun.clear()
        lost = asyncio.create_task(self.try_wrong())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.hasher.begun.wait()
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)

    async def update_user(self, login: str = "ann", **changes: Any) -> None:
        await self.worker.call(USER_UPDATE, tenantToken=self.shop, login=login, **changes)

    def wait(self, seconds: float) -> None:
        self.worker.clock.advance(timedelta(seconds=seconds))


async def outcome_of(login: Awaitable[object]) -> str:
    """Return `right`, `wrong`, or the retry delay."""
    try:
        await login
    except InvalidCredentials:
        return "wrong"
    except Throttled as error:
        return f"wait {error.retry_after_seconds}"
    return "right"


@pytest.fixture
async def scene() -> Scene:
    return await Scene().begin()


Attempt = Callable[[Scene], Awaitable[str]]
ATTEMPTS: dict[str, Attempt] = {
    "a user": lambda scene: scene.try_wrong("ann"),
    "an unknown user": lambda scene: scene.try_wrong("nobody"),
    "a user at an address": lambda scene: scene.try_wrong("ann", clientAddress=HOME),
    "an unknown user at an address": lambda scene: scene.try_wrong("nobody", clientAddress=HOME),
    "a tenant": lambda scene: scene.try_wrong_tenant("shop@example.com"),
    "an unknown tenant": lambda scene: scene.try_wrong_tenant("nobody@example.com"),
    "a tenant at an address": lambda scene: scene.try_wrong_tenant("shop@example.com", clientAddress=HOME),
    "an unknown tenant at an address": lambda scene: scene.try_wrong_tenant("nobody@example.com", clientAddress=HOME),
}


@pytest.mark.parametrize("account", ATTEMPTS)
async def test_wrong_password_doubles_the_retry_delay_up_to_a_minute(scene: Scene, account: str) -> None:
    """Known and unknown accounts are throttled alike."""
    attempt = ATTEMPTS[account]
    assert [await attempt(scene) for _ in range(LIMIT.undelayed)] == ["wrong"] * LIMIT.undelayed
    for seconds in WAITS:
        assert await attempt(scene) == f"wait {seconds}"
        scene.wait(seconds - 0.001)
        assert await attempt(scene) == "wait 1"
        scene.wait(0.001)
        assert await attempt(scene) == "wrong"


@pytest.mark.parametrize(
    ("known", "unknown"),
    [
        ("a user", "an unknown user"),
        ("a user at an address", "an unknown user at an address"),
        ("a tenant", "an unknown tenant"),
        ("a tenant at an address", "an unknown tenant at an address"),
    ],
)
async def test_throttled_answers_are_the_same_for_unknown_accounts(known: str, unknown: str) -> None:
    """The number of hashes is the same, too."""
    seen = []
    for account in (known, unknown):
        scene = await Scene().begin()
        answers = []
        for seconds in (0, 0, 0, 0, 0, 0, 0.5, 1, 1, 3600):
            scene.wait(seconds)
            before = scene.hasher.work
            answers.append((await ATTEMPTS[account](scene), scene.hasher.work - before))
        seen.append(answers)
    assert seen[0] == seen[1]
    assert {("wrong", 1), ("wait 1", 0)} <= set(seen[0])


async def test_attempt_before_the_retry_time_costs_no_hash_and_no_delay(scene: Scene) -> None:
    """This holds for right and wrong passwords."""
    await scene.use_undelayed()
    before = scene.hasher.work
    for _ in range(20):
        assert await scene.try_wrong() == "wait 1"
        assert await outcome_of(scene.login()) == "wait 1"
    assert scene.hasher.work == before
    scene.wait(1)
    assert await outcome_of(scene.login()) == "right"


async def test_right_password_resets_the_undelayed_attempts(scene: Scene) -> None:
    for _ in range(3):
        await scene.use_undelayed()
        assert await scene.try_wrong() == "wait 1"
        scene.wait(1)
        await scene.login()


async def test_failures_expire_a_window_after_the_first(scene: Scene) -> None:
    await scene.use_undelayed()
    for _ in range(3):
        scene.wait(10)
        await scene.try_wrong()
    scene.wait(LIMIT.window.total_seconds() - 30)
    await scene.use_undelayed()


async def test_wrong_passwords_in_an_hour_are_at_most_69(scene: Scene) -> None:
    """OWASP ASVS 4.0.3, 2.2.1, allows at most 100."""
    made, seconds = 0, 0
    while seconds < 3600:
        answer = await scene.try_wrong("nobody")
        made += answer == "wrong"
        wait = 0 if answer == "wrong" else int(answer.split()[1])
        scene.wait(wait)
        seconds += wait
    assert made == 69


async def test_concurrent_wrong_logins_are_hashed_up_to_the_undelayed_number(scene: Scene) -> None:
    """Attempts in flight count."""
    before = scene.hasher.work
    answers = await asyncio.gather(*(scene.try_wrong() for _ in range(50)))
    assert sorted(answers) == ["wait 1"] * (50 - LIMIT.undelayed) + ["wrong"] * LIMIT.undelayed
    assert scene.hasher.work - before == LIMIT.undelayed
    scene.wait(1)
    answers = await asyncio.gather(*(scene.try_wrong() for _ in range(50)))
    assert sorted(answers) == ["wait 2"] * 49 + ["wrong"]


async def test_concurrent_right_logins_are_all_accepted(scene: Scene) -> None:
    """Many processes of a service may start at once, even after wrong passwords."""
    assert await asyncio.gather(*(outcome_of(scene.login()) for _ in range(50))) == ["right"] * 50
    await scene.use_undelayed()
    scene.wait(1)
    assert await asyncio.gather(*(outcome_of(scene.login()) for _ in range(50))) == ["right"] * 50


async def test_failures_from_elsewhere_do_not_delay_a_known_address(scene: Scene) -> None:
    """ "No address" is a known origin, too, after a login without one."""
    for address in (HOME, None):
        await scene.login(clientAddress=address)
    for number in range(1, 30):
        scene.wait(60)
        await scene.try_wrong(clientAddress=f"203.0.113.{number}")
    assert await scene.try_wrong(clientAddress=ELSEWHERE) == "wait 60"
    for address in (HOME, None):
        assert await outcome_of(scene.login(clientAddress=address)) == "right"


async def test_known_address_has_its_own_throttle(scene: Scene) -> None:
    """Failures known do not delay other addresses."""
    await scene.login(clientAddress=HOME)
    await scene.use_undelayed(clientAddress=HOME)
    assert await outcome_of(scene.login(clientAddress=HOME)) == "wait 1"
    assert await outcome_of(scene.login(clientAddress=OFFICE)) == "right"
    scene.wait(1)
    assert await outcome_of(scene.login(clientAddress=HOME)) == "right"


async def test_login_from_a_new_address_waits_a_minute_at_most(scene: Scene) -> None:
    """Attackers can delay it, but never for long."""
    for _ in range(40):
        scene.wait(60)
        await scene.try_wrong(clientAddress=ELSEWHERE)
    assert await outcome_of(scene.login(clientAddress=OFFICE)) == "wait 60"
    scene.wait(60)
    assert await outcome_of(scene.login(clientAddress=OFFICE)) == "right"


async def test_address_stays_known_for_a_limited_time_after_a_login(scene: Scene) -> None:
    email = "shop@example.com"
    await scene.worker.call(TENANT_LOGIN, email=email, password=PASSWORD, clientAddress=HOME)
    for wait, answer in ((THROTTLE.known_for - timedelta(seconds=1), "right"), (THROTTLE.known_for, "wait 1")):
        scene.worker.clock.advance(wait)
        for _ in range(LIMIT.undelayed):
            await scene.try_wrong_tenant(email, clientAddress=ELSEWHERE)
        login = scene.worker.call(TENANT_LOGIN, email=email, password=PASSWORD, clientAddress=HOME)
        assert await outcome_of(login) == answer


async def lock(scene: Scene, attempt: Attempt) -> None:
    """Make the maximum of consecutive wrong attempts, over some hours."""
    made = 0
    while made < STRANGERS_LIMIT:
        if await attempt(scene) == "wrong":
            made += 1
        else:
            scene.wait(LIMIT.longest_wait.total_seconds())


@pytest.mark.parametrize("account", ATTEMPTS)
async def test_consecutive_failures_at_the_limit_lock_the_account(scene: Scene, account: str) -> None:
    """NIST SP 800-63B-4, 3.2.2. Unknown accounts are locked alike, and no more hashes are computed."""
    await lock(scene, ATTEMPTS[account])
    hashed = scene.hasher.work
    for _ in range(5):
        scene.wait(8 * 3600)
        assert await ATTEMPTS[account](scene) == "wait 60"
    assert scene.hasher.work == hashed


async def test_locked_account_accepts_logins_from_known_addresses(scene: Scene) -> None:
    """Such a login does not unlock the account for other addresses."""
    await scene.login(clientAddress=HOME)
    await lock(scene, ATTEMPTS["a user"])
    for _ in range(3):
        assert await outcome_of(scene.login(clientAddress=HOME)) == "right"
        scene.wait(LIMIT.window.total_seconds())
        assert await outcome_of(scene.login(clientAddress=OFFICE)) == "wait 60"


async def test_right_password_from_a_new_address_resets_the_consecutive_failures(scene: Scene) -> None:
    for _ in range(STRANGERS_LIMIT - 1):
        while await scene.try_wrong() != "wrong":
            scene.wait(LIMIT.longest_wait.total_seconds())
    scene.wait(LIMIT.longest_wait.total_seconds())
    assert await outcome_of(scene.login(clientAddress=OFFICE)) == "right"
    await scene.use_undelayed(clientAddress=ELSEWHERE)


UNLOCKS: dict[str, Callable[[Scene], Awaitable[object]]] = {
    "unlock": lambda scene: scene.update_user(unlock=True),
    "unlock and more": lambda scene: scene.update_user(unlock=True, scope="all"),
    "new password": lambda scene: scene.update_user(password=NEW_PASSWORD),
}


@pytest.mark.parametrize("way", UNLOCKS)
async def test_locked_user_is_unlocked_by_its_tenant_or_a_new_password(scene: Scene, way: str) -> None:
    """All attempts are undelayed again, and the audit trail shows lock and unlock."""
    await lock(scene, ATTEMPTS["a user"])
    assert await scene.try_wrong() == "wait 60"
    outcomes = {record.outcome for record in scene.worker.audit.records.values() if record.login == "ann"}
    assert outcomes == {"ok", "invalid_credentials", "throttled", "locked"}
    await UNLOCKS[way](scene)
    changes = {record.changed for record in scene.worker.audit.records.values() if record.type == "user.update"}
    assert changes == {
        {"unlock": ("unlock",), "unlock and more": ("scope", "unlock"), "new password": ("password",)}[way]
    }
    await scene.use_undelayed()
    assert await scene.try_wrong() == "wait 1"


async def test_update_without_unlock_leaves_the_user_locked(scene: Scene) -> None:
    """Unlocking another user does not help either."""
    await lock(scene, ATTEMPTS["a user"])
    await scene.worker.create(scene.shop, "bob")
    await scene.update_user(scope="all")
    await scene.update_user("bob", unlock=True)
    assert await scene.try_wrong() == "wait 60"


async def test_unlock_of_an_unknown_user_is_refused(scene: Scene) -> None:
    """The lock of the unknown login stays."""
    await lock(scene, ATTEMPTS["an unknown user"])
    with pytest.raises(UserNotFound):
        await scene.update_user("nobody", unlock=True)
    assert await scene.try_wrong("nobody") == "wait 60"


async def test_new_user_with_a_locked_login_is_not_locked(scene: Scene) -> None:
    """Attempts before the creation are forgotten."""
    await lock(scene, ATTEMPTS["an unknown user"])
    await scene.worker.create(scene.shop, "nobody")
    assert await outcome_of(scene.login("nobody")) == "right"


async def test_locked_tenant_is_unlocked_by_the_operator_or_a_new_password(scene: Scene) -> None:
    await lock(scene, ATTEMPTS["a tenant"])
    members = {"email": "shop@example.com", "password": PASSWORD}
    assert await outcome_of(scene.worker.call(TENANT_LOGIN, **members)) == "wait 60"
    await scene.worker.call(TENANT_ENABLE, email="shop@example.com", registrationKey=REGISTRATION_KEY)
    assert await outcome_of(scene.worker.call(TENANT_LOGIN, **members)) == "right"
    await lock(scene, lambda scene: scene.try_wrong_tenant("shop@example.com", clientAddress=ELSEWHERE))
    change = {"tenantToken": scene.shop, "currentPassword": PASSWORD, "password": NEW_PASSWORD}
    await scene.worker.call(TENANT_UPDATE, **change)
    new = {"email": "shop@example.com", "password": NEW_PASSWORD, "clientAddress": OFFICE}
    assert await outcome_of(scene.worker.call(TENANT_LOGIN, **new)) == "right"


async def test_locked_tenant_with_a_live_token_changes_its_password(scene: Scene) -> None:
    """Retry delays still apply. Requests without the token are refused until the password is changed."""
    await lock(scene, ATTEMPTS["a tenant"])
    scene.wait(LIMIT.longest_wait.total_seconds())
    change = {"tenantToken": scene.shop, "password": NEW_PASSWORD, "clientAddress": OFFICE}
    assert await outcome_of(scene.worker.call(TENANT_UPDATE, **change, currentPassword="wrong")) == "wrong"
    assert await outcome_of(scene.worker.call(TENANT_UPDATE, **change, currentPassword=PASSWORD)) == "wait 60"
    scene.wait(LIMIT.longest_wait.total_seconds())
    assert await scene.try_wrong_tenant("shop@example.com", clientAddress=OFFICE) == "wait 60"
    assert await outcome_of(scene.worker.call(TENANT_UPDATE, **change, currentPassword=PASSWORD)) == "right"
    new = {"email": "shop@example.com", "password": NEW_PASSWORD, "clientAddress": ELSEWHERE}
    assert await outcome_of(scene.worker.call(TENANT_LOGIN, **new)) == "right"


async def test_locked_tenant_with_a_revoked_token_stays_locked(scene: Scene) -> None:
    await scene.worker.call(TENANT_UPDATE, tenantToken=scene.shop, currentPassword=PASSWORD)
    await lock(scene, lambda scene: scene.try_wrong_tenant("shop@example.com", clientAddress=ELSEWHERE))
    scene.wait(LIMIT.longest_wait.total_seconds())
    change = {"tenantToken": scene.shop, "currentPassword": PASSWORD, "clientAddress": OFFICE}
    with pytest.raises(InvalidTenantToken):
        await scene.worker.call(TENANT_UPDATE, **change)


async def test_new_tenant_with_a_locked_email_is_not_locked(scene: Scene) -> None:
    await lock(scene, ATTEMPTS["an unknown tenant"])
    await scene.worker.register("nobody@example.com")
    members = {"email": "nobody@example.com", "password": PASSWORD}
    assert await outcome_of(scene.worker.call(TENANT_LOGIN, **members)) == "right"


async def test_failures_at_many_accounts_throttle_their_address(scene: Scene) -> None:
    """Other addresses and known users of this address are not affected."""
    await scene.login(clientAddress=HOME)
    assert THROTTLE.address
    for number in range(THROTTLE.address.undelayed):
        assert await scene.try_wrong(f"user-{number}", clientAddress=HOME) == "wrong"
    assert await scene.try_wrong("another", clientAddress=HOME) == "wait 1"
    assert await scene.try_wrong("another", clientAddress=OFFICE) == "wrong"
    assert await outcome_of(scene.login(clientAddress=HOME)) == "right"
    assert await scene.try_wrong("another", clientAddress=HOME) == "wait 1"
    scene.wait(1)
    assert await scene.try_wrong("another", clientAddress=HOME) == "wrong"
    assert await scene.try_wrong("another", clientAddress=HOME) == "wait 2"


async def test_right_password_does_not_reset_the_throttle_of_its_address(scene: Scene) -> None:
    """Otherwise attackers could reset it by logging in to an account of their own."""
    assert THROTTLE.address
    await scene.worker.create(scene.shop, "mallory")
    for number in range(THROTTLE.address.undelayed):
        assert await scene.try_wrong(f"user-{number}", clientAddress=HOME) == "wrong"
        await scene.login("mallory", clientAddress=HOME)
    assert await scene.try_wrong("another", clientAddress=HOME) == "wait 1"


async def test_failures_of_one_tenants_users_do_not_affect_another_tenant(scene: Scene) -> None:
    """Logins of tenants are not affected either."""
    for number in range(40):
        await scene.try_wrong(f"user-{number}", clientAddress=HOME)
        await scene.try_wrong(clientAddress=HOME)
    assert (await scene.try_wrong(clientAddress=HOME)).startswith("wait")
    assert await outcome_of(scene.worker.login(scene.bank, clientAddress=HOME)) == "right"
    credentials = {"email": "shop@example.com", "password": PASSWORD, "clientAddress": HOME}
    assert await outcome_of(scene.worker.call(TENANT_LOGIN, **credentials)) == "right"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
async def test_addresses_of_one_client_share_a_throttle(scene: Scene, one: str, other: str, same: bool) -> None:
    """An IPv6 client has a /64 network; an IPv4-mapped address is the IPv4 address."""
    assert THROTTLE.address
    for number in range(THROTTLE.address.undelayed):
        await scene.try_wrong(f"user-{number}", clientAddress=one)
    assert await scene.try_wrong("another", clientAddress=other) == ("wait 1" if same else "wrong")


async def test_redelivered_login_is_counted_once(scene: Scene) -> None:
    """The next worker handles it regardless of a retry delay."""
    for _ in range(LIMIT.undelayed - 1):
        await scene.try_wrong()
    await scene.lose_an_attempt()
    assert await outcome_of(scene.redelivered_login("wrong")) == "wrong"
    assert await scene.try_wrong() == "wait 1"
    scene.wait(1)
    await scene.lose_an_attempt()
    assert await outcome_of(scene.redelivered_login(PASSWORD)) == "right"
    await scene.use_undelayed()


async def test_uncounted_redelivered_login_is_counted(scene: Scene) -> None:
    """The lost worker may not have started all the requests it held."""
    for _ in range(LIMIT.undelayed):
        assert await outcome_of(scene.redelivered_login("wrong")) == "wrong"
    assert await outcome_of(scene.redelivered_login("wrong")) == "wait 1"
    assert await scene.try_wrong() == "wait 1"


async def test_lost_attempt_counts_as_wrong_and_does_not_block_others(scene: Scene) -> None:
    """The next caller gets the retry delay at once."""
    for _ in range(LIMIT.undelayed + 2):
        assert await scene.try_wrong() == "wrong"
        scene.wait(60)
    await scene.lose_an_attempt()
    scene.wait(3)
    assert await scene.try_wrong() == "wait 5"
    scene.wait(5)
    assert await scene.try_wrong() == "wrong"


@pytest.mark.parametrize("operation", [TENANT_UPDATE, TENANT_DISABLE, TENANT_DELETE], ids=lambda each: each.name)
async def test_wrong_tenant_password_with_a_token_counts_as_a_failed_login(
    scene: Scene, operation: Operation[Any, Any]
) -> None:
    """A stolen token therefore allows no additional attempts."""
    password = "currentPassword" if operation is TENANT_UPDATE else "password"
    for _ in range(LIMIT.undelayed):
        assert await outcome_of(scene.worker.call(operation, tenantToken=scene.shop, **{password: "wrong"})) == "wrong"
    hashed = scene.hasher.work
    assert await outcome_of(scene.worker.call(operation, tenantToken=scene.shop, **{password: PASSWORD})) == "wait 1"
    assert await scene.try_wrong_tenant("shop@example.com") == "wait 1"
    assert scene.hasher.work == hashed
    scene.wait(1)
    assert await outcome_of(scene.worker.call(operation, tenantToken=scene.shop, **{password: PASSWORD})) == "right"


async def test_wrong_password_in_a_redelivered_update_counts_as_a_failed_login(scene: Scene) -> None:
    """An old token with its message id therefore allows no additional attempts."""
    fields = {"tenantToken": scene.shop, "currentPassword": PASSWORD}
    await scene.worker.call(TENANT_UPDATE, "message", **fields, password="another fine password")
    tries = [
        await outcome_of(scene.worker.call(TENANT_UPDATE, "message", **fields, password=f"fine password {number}"))
        for number in range(LIMIT.undelayed + 1)
    ]
    assert tries == ["wrong"] * LIMIT.undelayed + ["wait 1"]


@pytest.mark.parametrize("stated", [None, HOME])
async def test_service_is_an_origin_of_its_own_for_tenant_logins(scene: Scene, stated: str | None) -> None:
    """The address that it states does not count, so it cannot use up the attempts of a known address."""
    login = {"email": "shop@example.com", "password": PASSWORD}
    where = {} if stated is None else {"clientAddress": stated}
    for known in ({}, {"clientAddress": HOME}):
        await scene.worker.call(TENANT_LOGIN, **login, **known)
    await scene.worker.call_as("shop", TENANT_LOGIN, **login)
    wrong_login = {"email": "shop@example.com", "password": "wrong", **where}
    for _ in range(LIMIT.undelayed):
        assert await outcome_of(scene.worker.call_as("mallory", TENANT_LOGIN, **wrong_login)) == "wrong"
    assert await outcome_of(scene.worker.call_as("mallory", TENANT_LOGIN, **wrong_login)) == "wait 1"
    for known in ({}, {"clientAddress": HOME}):
        assert await outcome_of(scene.worker.call(TENANT_LOGIN, **login, **known)) == "right"
    assert await outcome_of(scene.worker.call_as("shop", TENANT_LOGIN, **login)) == "right"


async def test_failures_of_a_service_at_many_tenants_throttle_the_service(scene: Scene) -> None:
    """The addresses that it states do not count."""
    assert THROTTLE.address
    wrong = {"password": "wrong"}
    for number in range(THROTTLE.address.undelayed):
        where = {"email": f"{number}@example.com", "clientAddress": f"192.0.2.{number}"}
        assert await outcome_of(scene.worker.call_as("mallory", TENANT_LOGIN, **wrong, **where)) == "wrong"
    assert await outcome_of(scene.worker.call_as("mallory", TENANT_LOGIN, **wrong, email="x@example.com")) == "wait 1"
    assert await outcome_of(scene.worker.call_as("shop", TENANT_LOGIN, **wrong, email="x@example.com")) == "wrong"


async def test_failures_of_a_services_users_without_addresses_count_per_user(scene: Scene) -> None:
    """The service itself is not throttled."""
    assert THROTTLE.address
    members = {"tenantToken": scene.shop, "password": "wrong", "deviceId": "phone"}
    for number in range(THROTTLE.address.undelayed + 1):
        assert await outcome_of(scene.worker.call_as("shop", AUTH_LOGIN, **members, login=f"user-{number}")) == "wrong"


async def test_user_address_stated_by_a_service_counts_as_through_an_edge(scene: Scene) -> None:
    members = {"tenantToken": scene.shop, "login": "ann", "deviceId": "phone"}
    await scene.worker.call_as("shop", AUTH_LOGIN, **members, password=PASSWORD, clientAddress=HOME)
    await scene.use_undelayed(clientAddress=ELSEWHERE)
    assert await outcome_of(scene.login(clientAddress=OFFICE)) == "wait 1"
    assert await outcome_of(scene.login(clientAddress=HOME)) == "right"


KEY_OPERATIONS: dict[str, dict[str, str]] = {
    "tenant.register": {"email": "new@example.com", "password": PASSWORD},
    "tenant.disable": {"email": "shop@example.com"},
    "tenant.enable": {"email": "shop@example.com"},
    "tenant.delete": {"email": "shop@example.com"},
}


@pytest.mark.parametrize("name", KEY_OPERATIONS)
async def test_wrong_registration_key_throttles_its_address_for_all_operations(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator can continue from another address."""
    scene = await Scene().begin()

    async def show(key: str, name: str = name, **where: str) -> str:
        members = {**KEY_OPERATIONS[name], **where, "registrationKey": key}
        return await outcome_of(scene.worker.call(OPERATIONS[name], **members))

    # Registration is open here, so a wrong key alone is not refused.
    wrong = "right" if name == "tenant.register" else "wrong"
    for number in range(LIMIT.undelayed):
        members = {"email": f"{number}@example.com"} if name == "tenant.register" else {}
        assert await show("a wrong key", **members, clientAddress=HOME) == wrong
    assert await show("a wrong key", clientAddress=HOME) == "wait 1"
    assert await show(REGISTRATION_KEY, clientAddress=HOME) == "wait 1"
    assert await show(REGISTRATION_KEY, "tenant.enable", clientAddress=HOME) == "wait 1"
    assert await show(REGISTRATION_KEY, "tenant.enable", clientAddress=OFFICE) == "right"
    assert await show(REGISTRATION_KEY, "tenant.enable") == "right"
    scene.wait(1)
    assert await show(REGISTRATION_KEY, clientAddress=HOME) == "right"
    shown = [vars(line)["client_address"] for line in caplog.records if "registration key" in line.message]
    assert shown == [HOME] * LIMIT.undelayed
    assert "a wrong key" not in caplog.text.replace("a wrong key was", "").replace("a wrong registration key", "")


async def test_right_registration_key_resets_the_throttle(scene: Scene) -> None:
    """A script with an old key must not delay the operator."""
    members = {"email": "shop@example.com", "clientAddress": HOME}
    for _ in range(2 * LIMIT.undelayed):
        assert await outcome_of(scene.worker.call(TENANT_ENABLE, **members, registrationKey="an old key")) == "wrong"
        scene.wait(LIMIT.longest_wait.total_seconds())
    for _ in range(3):
        assert (
            await outcome_of(scene.worker.call(TENANT_ENABLE, **members, registrationKey=REGISTRATION_KEY)) == "right"
        )
    for _ in range(LIMIT.undelayed):
        assert await outcome_of(scene.worker.call(TENANT_ENABLE, **members, registrationKey="an old key")) == "wrong"
    assert await outcome_of(scene.worker.call(TENANT_ENABLE, **members, registrationKey="an old key")) == "wait 1"


async def test_registration_key_without_a_configured_one_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Without a configured key, wrong keys count nothing, and an allowed network can still register."""
    worker = InMemoryWorker(registration=FakeRegistration(has_key=False))
    for number in range(2 * LIMIT.undelayed):
        shown = {"email": f"{number}@example.com", "registrationKey": REGISTRATION_KEY, "clientAddress": HOME}
        assert await outcome_of(worker.call(TENANT_REGISTER, **shown, password=PASSWORD)) == "right"
        assert await outcome_of(worker.call(TENANT_DISABLE, **shown)) == "wrong"
    assert "registration key" not in caplog.text


async def test_wrong_registration_key_of_a_service_throttles_the_service(scene: Scene) -> None:
    """The addresses that it states do not count."""
    members = {"email": "shop@example.com", "registrationKey": "a wrong key"}
    for number in range(LIMIT.undelayed):
        attempt = scene.worker.call_as("mallory", TENANT_DISABLE, **members, clientAddress=f"192.0.2.{number}")
        assert await outcome_of(attempt) == "wrong"
    assert await outcome_of(scene.worker.call_as("mallory", TENANT_DISABLE, **members, clientAddress=HOME)) == "wait 1"
    assert await outcome_of(scene.worker.call(TENANT_DISABLE, **members, clientAddress=HOME)) == "wrong"


class UnavailableUsers(FakeUsers):
    """A database that can stop answering about users."""

    away = False

    async def find(self, tenant: str, login: str) -> StoredUser | None:
        if self.away:
            raise Unavailable
        return await super().find(tenant, login)


async def test_login_without_a_database_is_not_counted() -> None:
    """No hash was computed."""
    users = UnavailableUsers()
    scene = await Scene(users=users).begin()
    users.away = True
    for _ in range(2 * LIMIT.undelayed):
        with pytest.raises(Unavailable):
            await scene.login(password="wrong", clientAddress=HOME)
    users.away = False
    await scene.use_undelayed(clientAddress=HOME)


@pytest.mark.parametrize("disabled", ["account", "address"])
async def test_throttle_with_one_limit_off_applies_the_other(disabled: str) -> None:
    """With both disabled, nothing is counted."""
    without_account, without_address = replace(THROTTLE, account=None), replace(THROTTLE, address=None)
    throttle, remaining = {"account": (without_account, THROTTLE.address), "address": (without_address, LIMIT)}[
        disabled
    ]
    assert remaining
    scene = await Scene(throttle=throttle).begin()
    answers = [await scene.try_wrong("ann", clientAddress=HOME) for _ in range(100)]
    assert answers == ["wrong"] * remaining.undelayed + ["wait 1"] * (100 - remaining.undelayed)
    scene = await Scene(throttle=replace(THROTTLE, account=None, address=None)).begin()
    assert {await scene.try_wrong("ann", clientAddress=HOME) for _ in range(100)} == {"wrong"}
    assert await outcome_of(scene.login(clientAddress=HOME)) == "right"


async def test_throttle_keys_reveal_no_login_or_address(scene: Scene) -> None:
    """A login may be a mistyped password."""
    await scene.try_wrong("my password", clientAddress=HOME)
    assert len(scene.worker.attempts.keys) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in scene.worker.attempts.keys)
