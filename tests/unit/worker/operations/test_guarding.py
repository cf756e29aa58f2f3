"""Guessing at passwords: how soon it gets slow, and for whom."""

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
from worker.domain.records import User

HOME, OFFICE, ELSEWHERE = "192.0.2.1", "198.51.100.1", "203.0.113.1"
#: What each failure after the free ones costs.
WAITS = [1, 2, 4, 8, 16, 32, 60, 60]
#: Of strangers, in a row.
STRANGERS_LIMIT = 100
NEW_PASSWORD = "another fine password"
#: For what happens at once, or not at all.
PATIENCE_SECONDS = 30


class SeenHasher(FakeHasher):
    """Says when it has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.begun.set()
        return await super().verify(password_hash, password)


class Scene:
    """Two tenants with a user ann each, and everything that is hashed counted."""

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

    async def login_again(self, password: str) -> AuthLoginReply:
        """A login that the broker delivers once more."""
        fields = {"tenantToken": self.shop, "login": "ann", "password": password, "deviceId": "phone"}
        return await self.worker.redeliver(AUTH_LOGIN, **fields)

    async def guess(self, login: str = "ann", **fields: Any) -> str:
        """What a wrong password is answered."""
        return await told(self.login(login, "wrong", **fields))

    async def guess_tenant(self, email: str, **fields: Any) -> str:
        """And that of a tenant."""
        return await told(self.worker.call(TENANT_LOGIN, email=email, password="wrong", **fields))

    async def use_up(self, login: str = "ann", **fields: Any) -> None:
        """Makes all the guesses that are free."""
        for _ in range(LIMIT.undelayed):
            assert await self.guess(login, **fields) == "wrong"

    async def lose_a_guess(self) -> None:
        """A worker that is lost while it hashes."""
        self.hasher.begun.clear()
        lost = asyncio.create_task(self.guess())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.hasher.begun.wait()
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)

    async def update_user(self, login: str = "ann", **changes: Any) -> None:
        await self.worker.call(USER_UPDATE, tenantToken=self.shop, login=login, **changes)

    def wait(self, seconds: float) -> None:
        self.worker.clock.advance(timedelta(seconds=seconds))


async def told(login: Awaitable[object]) -> str:
    """`right`, `wrong`, or how long to wait."""
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


Guess = Callable[[Scene], Awaitable[str]]
GUESSES: dict[str, Guess] = {
    "a user": lambda scene: scene.guess("ann"),
    "nobody": lambda scene: scene.guess("nobody"),
    "a user at an address": lambda scene: scene.guess("ann", clientAddress=HOME),
    "nobody at an address": lambda scene: scene.guess("nobody", clientAddress=HOME),
    "a tenant": lambda scene: scene.guess_tenant("shop@example.com"),
    "no tenant": lambda scene: scene.guess_tenant("nobody@example.com"),
    "a tenant at an address": lambda scene: scene.guess_tenant("shop@example.com", clientAddress=HOME),
    "no tenant at an address": lambda scene: scene.guess_tenant("nobody@example.com", clientAddress=HOME),
}


@pytest.mark.parametrize("who", GUESSES)
async def test_each_guess_takes_longer(scene: Scene, who: str) -> None:
    """Some are free, then one waits twice as long each time, up to a minute; at known and unknown accounts alike."""
    guess = GUESSES[who]
    assert [await guess(scene) for _ in range(LIMIT.undelayed)] == ["wrong"] * LIMIT.undelayed
    for seconds in WAITS:
        assert await guess(scene) == f"wait {seconds}"
        scene.wait(seconds - 0.001)
        assert await guess(scene) == "wait 1"
        scene.wait(0.001)
        assert await guess(scene) == "wrong"


@pytest.mark.parametrize(
    ("there", "not_there"),
    [
        ("a user", "nobody"),
        ("a user at an address", "nobody at an address"),
        ("a tenant", "no tenant"),
        ("a tenant at an address", "no tenant at an address"),
    ],
)
async def test_nobody_learns_who_is_there(there: str, not_there: str) -> None:
    """The same guesses at an account and at none are answered the same, after as many hashes; also while throttled."""
    seen = []
    for who in (there, not_there):
        scene = await Scene().begin()
        answers = []
        for seconds in (0, 0, 0, 0, 0, 0, 0.5, 1, 1, 3600):
            scene.wait(seconds)
            before = scene.hasher.work
            answers.append((await GUESSES[who](scene), scene.hasher.work - before))
        seen.append(answers)
    assert seen[0] == seen[1]
    assert {("wrong", 1), ("wait 1", 0)} <= set(seen[0])


async def test_who_waits_is_not_hashed_and_waits_no_longer(scene: Scene) -> None:
    """An attempt before its time costs no work, right or wrong, and does not put the time off."""
    await scene.use_up()
    before = scene.hasher.work
    for _ in range(20):
        assert await scene.guess() == "wait 1"
        assert await told(scene.login()) == "wait 1"
    assert scene.hasher.work == before
    scene.wait(1)
    assert await told(scene.login()) == "right"


async def test_a_right_password_begins_anew(scene: Scene) -> None:
    """After it all guesses are free again that are free at first."""
    for _ in range(3):
        await scene.use_up()
        assert await scene.guess() == "wait 1"
        scene.wait(1)
        await scene.login()


async def test_all_is_forgotten(scene: Scene) -> None:
    """A window after the first wrong password, however many there were since."""
    await scene.use_up()
    for _ in range(3):
        scene.wait(10)
        await scene.guess()
    scene.wait(LIMIT.window.total_seconds() - 30)
    await scene.use_up()


async def test_guesses_in_an_hour(scene: Scene) -> None:
    """Whoever makes each guess as soon as it is allowed makes no more than OWASP ASVS 4.0.3, 2.2.1, has in mind."""
    made, seconds = 0, 0
    while seconds < 3600:
        answer = await scene.guess("nobody")
        made += answer == "wrong"
        wait = 0 if answer == "wrong" else int(answer.split()[1])
        scene.wait(wait)
        seconds += wait
    assert made == 69


async def test_guesses_at_the_same_time(scene: Scene) -> None:
    """Of 50 wrong logins at once only those that are free are hashed; none slips past while others are under way."""
    before = scene.hasher.work
    answers = await asyncio.gather(*(scene.guess() for _ in range(50)))
    assert sorted(answers) == ["wait 1"] * (50 - LIMIT.undelayed) + ["wrong"] * LIMIT.undelayed
    assert scene.hasher.work - before == LIMIT.undelayed
    scene.wait(1)
    answers = await asyncio.gather(*(scene.guess() for _ in range(50)))
    assert sorted(answers) == ["wait 2"] * 49 + ["wrong"]


async def test_right_ones_at_the_same_time(scene: Scene) -> None:
    """Many processes that start together and log in as one account are all let in, also after some wrong passwords."""
    assert await asyncio.gather(*(told(scene.login()) for _ in range(50))) == ["right"] * 50
    await scene.use_up()
    scene.wait(1)
    assert await asyncio.gather(*(told(scene.login()) for _ in range(50))) == ["right"] * 50


async def test_strangers_keep_nobody_out(scene: Scene) -> None:
    """Whatever they guess from elsewhere, the user logs in from where it has before, be that "nobody says where"."""
    for place in (HOME, None):
        await scene.login(clientAddress=place)
    for number in range(1, 30):
        scene.wait(60)
        await scene.guess(clientAddress=f"203.0.113.{number}")
    assert await scene.guess(clientAddress=ELSEWHERE) == "wait 60"
    for place in (HOME, None):
        assert await told(scene.login(clientAddress=place)) == "right"


async def test_who_is_known_somewhere_guesses_as_little_there(scene: Scene) -> None:
    """A known place has a count of its own, and no more than that; what is wrong there keeps nobody out elsewhere."""
    await scene.login(clientAddress=HOME)
    await scene.use_up(clientAddress=HOME)
    assert await told(scene.login(clientAddress=HOME)) == "wait 1"
    assert await told(scene.login(clientAddress=OFFICE)) == "right"
    scene.wait(1)
    assert await told(scene.login(clientAddress=HOME)) == "right"


async def test_from_a_new_place_one_waits_a_minute_at_most(scene: Scene) -> None:
    """Strangers can be in the way of who logs in from somewhere for the first time; never for long."""
    for _ in range(40):
        scene.wait(60)
        await scene.guess(clientAddress=ELSEWHERE)
    assert await told(scene.login(clientAddress=OFFICE)) == "wait 60"
    scene.wait(60)
    assert await told(scene.login(clientAddress=OFFICE)) == "right"


async def test_a_place_is_known_for_some_time(scene: Scene) -> None:
    """Since the last login there; then it is as strange as any other."""
    email = "shop@example.com"
    await scene.worker.call(TENANT_LOGIN, email=email, password=PASSWORD, clientAddress=HOME)
    for wait, answer in ((THROTTLE.known_for - timedelta(seconds=1), "right"), (THROTTLE.known_for, "wait 1")):
        scene.worker.clock.advance(wait)
        for _ in range(LIMIT.undelayed):
            await scene.guess_tenant(email, clientAddress=ELSEWHERE)
        login = scene.worker.call(TENANT_LOGIN, email=email, password=PASSWORD, clientAddress=HOME)
        assert await told(login) == answer


async def lock(scene: Scene, guess: Guess) -> None:
    """As many wrong passwords in a row as may be, over some hours."""
    made = 0
    while made < STRANGERS_LIMIT:
        if await guess(scene) == "wrong":
            made += 1
        else:
            scene.wait(LIMIT.longest_wait.total_seconds())


@pytest.mark.parametrize("who", GUESSES)
async def test_so_many_in_a_row_and_no_more(scene: Scene, who: str) -> None:
    """NIST SP 800-63B-4, 3.2.2: whether there is such an account or not, and nothing is hashed any more."""
    await lock(scene, GUESSES[who])
    hashed = scene.hasher.work
    for _ in range(5):
        scene.wait(8 * 3600)
        assert await GUESSES[who](scene) == "wait 60"
    assert scene.hasher.work == hashed


async def test_a_locked_account_is_locked_for_strangers_alone(scene: Scene) -> None:
    """Where it has logged in it goes on, which does not let the strangers go on."""
    await scene.login(clientAddress=HOME)
    await lock(scene, GUESSES["a user"])
    for _ in range(3):
        assert await told(scene.login(clientAddress=HOME)) == "right"
        scene.wait(LIMIT.window.total_seconds())
        assert await told(scene.login(clientAddress=OFFICE)) == "wait 60"


async def test_a_right_password_of_a_stranger_begins_a_new_row(scene: Scene) -> None:
    """It proves that the one who types is no stranger after all."""
    for _ in range(STRANGERS_LIMIT - 1):
        while await scene.guess() != "wrong":
            scene.wait(LIMIT.longest_wait.total_seconds())
    scene.wait(LIMIT.longest_wait.total_seconds())
    assert await told(scene.login(clientAddress=OFFICE)) == "right"
    await scene.use_up(clientAddress=ELSEWHERE)


UNLOCKS: dict[str, Callable[[Scene], Awaitable[object]]] = {
    "unlock": lambda scene: scene.update_user(unlock=True),
    "unlock and more": lambda scene: scene.update_user(unlock=True, scope="all"),
    "new password": lambda scene: scene.update_user(password=NEW_PASSWORD),
}


@pytest.mark.parametrize("how", UNLOCKS)
async def test_a_user_is_unlocked(scene: Scene, how: str) -> None:
    """By its tenant, or with a new password; as much is free again as at first. The trail tells of both."""
    await lock(scene, GUESSES["a user"])
    assert await scene.guess() == "wait 60"
    outcomes = {record.outcome for record in scene.worker.audit.records.values() if record.login == "ann"}
    assert outcomes == {"ok", "invalid_credentials", "throttled", "locked"}
    await UNLOCKS[how](scene)
    changes = {record.changed for record in scene.worker.audit.records.values() if record.type == "user.update"}
    assert changes == {
        {"unlock": ("unlock",), "unlock and more": ("scope", "unlock"), "new password": ("password",)}[how]
    }
    await scene.use_up()
    assert await scene.guess() == "wait 1"


async def test_another_change_unlocks_nobody(scene: Scene) -> None:
    """Nor does the unlocking of somebody else."""
    await lock(scene, GUESSES["a user"])
    await scene.worker.create(scene.shop, "bob")
    await scene.update_user(scope="all")
    await scene.update_user("bob", unlock=True)
    assert await scene.guess() == "wait 60"


async def test_who_is_not_there_is_not_unlocked(scene: Scene) -> None:
    """The answer is that nobody has this login."""
    await lock(scene, GUESSES["nobody"])
    with pytest.raises(UserNotFound):
        await scene.update_user("nobody", unlock=True)
    assert await scene.guess("nobody") == "wait 60"


async def test_a_new_user_is_not_locked(scene: Scene) -> None:
    """Whatever strangers tried at its login before there was such a user."""
    await lock(scene, GUESSES["nobody"])
    await scene.worker.create(scene.shop, "nobody")
    assert await told(scene.login("nobody")) == "right"


async def test_a_tenant_is_unlocked(scene: Scene) -> None:
    """By the operator, and by its new password."""
    await lock(scene, GUESSES["a tenant"])
    members = {"email": "shop@example.com", "password": PASSWORD}
    assert await told(scene.worker.call(TENANT_LOGIN, **members)) == "wait 60"
    await scene.worker.call(TENANT_ENABLE, email="shop@example.com", registrationKey=REGISTRATION_KEY)
    assert await told(scene.worker.call(TENANT_LOGIN, **members)) == "right"
    await lock(scene, lambda scene: scene.guess_tenant("shop@example.com", clientAddress=ELSEWHERE))
    change = {"tenantToken": scene.shop, "currentPassword": PASSWORD, "password": NEW_PASSWORD}
    await scene.worker.call(TENANT_UPDATE, **change)
    new = {"email": "shop@example.com", "password": NEW_PASSWORD, "clientAddress": OFFICE}
    assert await told(scene.worker.call(TENANT_LOGIN, **new)) == "right"


async def test_a_locked_tenant_unlocks_itself_with_a_live_token(scene: Scene) -> None:
    """From anywhere, by a new password; the waits between wrong ones stay. Without the token it is locked as ever."""
    await lock(scene, GUESSES["a tenant"])
    scene.wait(LIMIT.longest_wait.total_seconds())
    change = {"tenantToken": scene.shop, "password": NEW_PASSWORD, "clientAddress": OFFICE}
    assert await told(scene.worker.call(TENANT_UPDATE, **change, currentPassword="wrong")) == "wrong"
    assert await told(scene.worker.call(TENANT_UPDATE, **change, currentPassword=PASSWORD)) == "wait 60"
    scene.wait(LIMIT.longest_wait.total_seconds())
    assert await scene.guess_tenant("shop@example.com", clientAddress=OFFICE) == "wait 60"
    assert await told(scene.worker.call(TENANT_UPDATE, **change, currentPassword=PASSWORD)) == "right"
    new = {"email": "shop@example.com", "password": NEW_PASSWORD, "clientAddress": ELSEWHERE}
    assert await told(scene.worker.call(TENANT_LOGIN, **new)) == "right"


async def test_a_locked_tenant_is_not_unlocked_by_a_revoked_token(scene: Scene) -> None:
    """Whoever has one tries no more passwords than without."""
    await scene.worker.call(TENANT_UPDATE, tenantToken=scene.shop, currentPassword=PASSWORD)
    await lock(scene, lambda scene: scene.guess_tenant("shop@example.com", clientAddress=ELSEWHERE))
    scene.wait(LIMIT.longest_wait.total_seconds())
    change = {"tenantToken": scene.shop, "currentPassword": PASSWORD, "clientAddress": OFFICE}
    with pytest.raises(InvalidTenantToken):
        await scene.worker.call(TENANT_UPDATE, **change)


async def test_a_new_tenant_is_not_locked(scene: Scene) -> None:
    """As a new user is not."""
    await lock(scene, GUESSES["no tenant"])
    await scene.worker.register("nobody@example.com")
    members = {"email": "nobody@example.com", "password": PASSWORD}
    assert await told(scene.worker.call(TENANT_LOGIN, **members)) == "right"


async def test_guesses_at_many_accounts(scene: Scene) -> None:
    """From one address they are limited together; at other addresses, and where the user is known, nothing changes."""
    await scene.login(clientAddress=HOME)
    assert THROTTLE.address
    for number in range(THROTTLE.address.undelayed):
        assert await scene.guess(f"user-{number}", clientAddress=HOME) == "wrong"
    assert await scene.guess("another", clientAddress=HOME) == "wait 1"
    assert await scene.guess("another", clientAddress=OFFICE) == "wrong"
    assert await told(scene.login(clientAddress=HOME)) == "right"
    assert await scene.guess("another", clientAddress=HOME) == "wait 1"
    scene.wait(1)
    assert await scene.guess("another", clientAddress=HOME) == "wrong"
    assert await scene.guess("another", clientAddress=HOME) == "wait 2"


async def test_a_right_password_says_nothing_about_its_address(scene: Scene) -> None:
    """Who has an account of their own cannot log in to it to go on guessing at others."""
    assert THROTTLE.address
    await scene.worker.create(scene.shop, "mallory")
    for number in range(THROTTLE.address.undelayed):
        assert await scene.guess(f"user-{number}", clientAddress=HOME) == "wrong"
        await scene.login("mallory", clientAddress=HOME)
    assert await scene.guess("another", clientAddress=HOME) == "wait 1"


async def test_a_tenant_counts_for_itself(scene: Scene) -> None:
    """What one tenant says about an address or a login does nothing to another tenant, nor to the login of tenants."""
    for number in range(40):
        await scene.guess(f"user-{number}", clientAddress=HOME)
        await scene.guess(clientAddress=HOME)
    assert (await scene.guess(clientAddress=HOME)).startswith("wait")
    assert await told(scene.worker.login(scene.bank, clientAddress=HOME)) == "right"
    credentials = {"email": "shop@example.com", "password": PASSWORD, "clientAddress": HOME}
    assert await told(scene.worker.call(TENANT_LOGIN, **credentials)) == "right"


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
async def test_addresses_of_one_client(scene: Scene, one: str, other: str, same: bool) -> None:
    """An IPv6 client has a /64 of addresses; an IPv4 address is itself, however it is written."""
    assert THROTTLE.address
    for number in range(THROTTLE.address.undelayed):
        await scene.guess(f"user-{number}", clientAddress=one)
    assert await scene.guess("another", clientAddress=other) == ("wait 1" if same else "wrong")


async def test_a_redelivered_login_is_counted_once(scene: Scene) -> None:
    """Its worker was lost: the next does it, whatever has to wait by now, and it counts as it did the first time."""
    for _ in range(LIMIT.undelayed - 1):
        await scene.guess()
    await scene.lose_a_guess()
    assert await told(scene.login_again("wrong")) == "wrong"
    assert await scene.guess() == "wait 1"
    scene.wait(1)
    await scene.lose_a_guess()
    assert await told(scene.login_again(PASSWORD)) == "right"
    await scene.use_up()


async def test_a_redelivered_login_that_was_never_counted_is_counted(scene: Scene) -> None:
    """A lost worker held more than it had begun with: none of that is a free guess."""
    for _ in range(LIMIT.undelayed):
        assert await told(scene.login_again("wrong")) == "wrong"
    assert await told(scene.login_again("wrong")) == "wait 1"
    assert await scene.guess() == "wait 1"


async def test_an_attempt_that_is_lost_holds_up_nobody(scene: Scene) -> None:
    """It counts as a wrong one, and whoever comes when it must be over is told at once how long to wait."""
    for _ in range(LIMIT.undelayed + 2):
        assert await scene.guess() == "wrong"
        scene.wait(60)
    await scene.lose_a_guess()
    scene.wait(3)
    assert await scene.guess() == "wait 5"
    scene.wait(5)
    assert await scene.guess() == "wrong"


@pytest.mark.parametrize("operation", [TENANT_UPDATE, TENANT_DISABLE, TENANT_DELETE], ids=lambda each: each.name)
async def test_a_stolen_tenant_token_helps_nobody_guess(scene: Scene, operation: Operation[Any, Any]) -> None:
    """What takes the tenant's password is counted as its logins are, with them and under the same keys."""
    password = "currentPassword" if operation is TENANT_UPDATE else "password"
    for _ in range(LIMIT.undelayed):
        assert await told(scene.worker.call(operation, tenantToken=scene.shop, **{password: "wrong"})) == "wrong"
    hashed = scene.hasher.work
    assert await told(scene.worker.call(operation, tenantToken=scene.shop, **{password: PASSWORD})) == "wait 1"
    assert await scene.guess_tenant("shop@example.com") == "wait 1"
    assert scene.hasher.work == hashed
    scene.wait(1)
    assert await told(scene.worker.call(operation, tenantToken=scene.shop, **{password: PASSWORD})) == "right"


async def test_a_repeated_update_helps_nobody_guess(scene: Scene) -> None:
    """Who has an old token and the message id that ended it may try no more passwords than anybody else."""
    fields = {"tenantToken": scene.shop, "currentPassword": PASSWORD}
    await scene.worker.call(TENANT_UPDATE, "message", **fields, password="another fine password")
    tries = [
        await told(scene.worker.call(TENANT_UPDATE, "message", **fields, password=f"fine password {number}"))
        for number in range(LIMIT.undelayed + 1)
    ]
    assert tries == ["wrong"] * LIMIT.undelayed + ["wait 1"]


@pytest.mark.parametrize("said", [None, HOME])
async def test_a_service_is_a_place_of_its_own(scene: Scene, said: str | None) -> None:
    """To the login of tenants it is itself, whatever it says: it uses up no guesses of another place that is known."""
    login = {"email": "shop@example.com", "password": PASSWORD}
    where = {} if said is None else {"clientAddress": said}
    for known in ({}, {"clientAddress": HOME}):
        await scene.worker.call(TENANT_LOGIN, **login, **known)
    await scene.worker.call_as("shop", TENANT_LOGIN, **login)
    guess = {"email": "shop@example.com", "password": "wrong", **where}
    for _ in range(LIMIT.undelayed):
        assert await told(scene.worker.call_as("mallory", TENANT_LOGIN, **guess)) == "wrong"
    assert await told(scene.worker.call_as("mallory", TENANT_LOGIN, **guess)) == "wait 1"
    for known in ({}, {"clientAddress": HOME}):
        assert await told(scene.worker.call(TENANT_LOGIN, **login, **known)) == "right"
    assert await told(scene.worker.call_as("shop", TENANT_LOGIN, **login)) == "right"


async def test_a_service_that_guesses_at_many_tenants(scene: Scene) -> None:
    """It is one client, whatever addresses it says."""
    assert THROTTLE.address
    guess = {"password": "wrong"}
    for number in range(THROTTLE.address.undelayed):
        where = {"email": f"{number}@example.com", "clientAddress": f"192.0.2.{number}"}
        assert await told(scene.worker.call_as("mallory", TENANT_LOGIN, **guess, **where)) == "wrong"
    assert await told(scene.worker.call_as("mallory", TENANT_LOGIN, **guess, email="x@example.com")) == "wait 1"
    assert await told(scene.worker.call_as("shop", TENANT_LOGIN, **guess, email="x@example.com")) == "wrong"


async def test_users_behind_a_service_are_no_client(scene: Scene) -> None:
    """Wrong passwords of many users, of whom the service does not say where they are, count for each of them alone."""
    assert THROTTLE.address
    members = {"tenantToken": scene.shop, "password": "wrong", "deviceId": "phone"}
    for number in range(THROTTLE.address.undelayed + 1):
        assert await told(scene.worker.call_as("shop", AUTH_LOGIN, **members, login=f"user-{number}")) == "wrong"


async def test_a_tenant_is_believed_about_its_users_by_either_way(scene: Scene) -> None:
    """The address that its service gives is a place, the same as through an edge."""
    members = {"tenantToken": scene.shop, "login": "ann", "deviceId": "phone"}
    await scene.worker.call_as("shop", AUTH_LOGIN, **members, password=PASSWORD, clientAddress=HOME)
    await scene.use_up(clientAddress=ELSEWHERE)
    assert await told(scene.login(clientAddress=OFFICE)) == "wait 1"
    assert await told(scene.login(clientAddress=HOME)) == "right"


KEY_OPERATIONS: dict[str, dict[str, str]] = {
    "tenant.register": {"email": "new@example.com", "password": PASSWORD},
    "tenant.disable": {"email": "shop@example.com"},
    "tenant.enable": {"email": "shop@example.com"},
    "tenant.delete": {"email": "shop@example.com"},
}


@pytest.mark.parametrize("name", KEY_OPERATIONS)
async def test_guesses_at_the_registration_key(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """They get slow, by where they come from and together for all operations; the operator goes on elsewhere."""
    scene = await Scene().begin()

    async def show(key: str, name: str = name, **where: str) -> str:
        members = {**KEY_OPERATIONS[name], **where, "registrationKey": key}
        return await told(scene.worker.call(OPERATIONS[name], **members))

    # Registration is open in this scene, so there a wrong key alone refuses nothing.
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


async def test_a_right_registration_key_forgives_wrong_ones(scene: Scene) -> None:
    """Whoever has it has nothing to guess, and goes on at once from where a script had an old one."""
    members = {"email": "shop@example.com", "clientAddress": HOME}
    for _ in range(2 * LIMIT.undelayed):
        assert await told(scene.worker.call(TENANT_ENABLE, **members, registrationKey="an old key")) == "wrong"
        scene.wait(LIMIT.longest_wait.total_seconds())
    for _ in range(3):
        assert await told(scene.worker.call(TENANT_ENABLE, **members, registrationKey=REGISTRATION_KEY)) == "right"
    for _ in range(LIMIT.undelayed):
        assert await told(scene.worker.call(TENANT_ENABLE, **members, registrationKey="an old key")) == "wrong"
    assert await told(scene.worker.call(TENANT_ENABLE, **members, registrationKey="an old key")) == "wait 1"


async def test_registration_keys_are_not_counted_where_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing to guess: registration from an allowed network goes on, whatever key comes with it."""
    worker = InMemoryWorker(registration=FakeRegistration(has_key=False))
    for number in range(2 * LIMIT.undelayed):
        shown = {"email": f"{number}@example.com", "registrationKey": REGISTRATION_KEY, "clientAddress": HOME}
        assert await told(worker.call(TENANT_REGISTER, **shown, password=PASSWORD)) == "right"
        assert await told(worker.call(TENANT_DISABLE, **shown)) == "wrong"
    assert "registration key" not in caplog.text


async def test_a_service_that_guesses_at_the_registration_key(scene: Scene) -> None:
    """It is itself, whatever addresses it says."""
    members = {"email": "shop@example.com", "registrationKey": "a wrong key"}
    for number in range(LIMIT.undelayed):
        guess = scene.worker.call_as("mallory", TENANT_DISABLE, **members, clientAddress=f"192.0.2.{number}")
        assert await told(guess) == "wrong"
    assert await told(scene.worker.call_as("mallory", TENANT_DISABLE, **members, clientAddress=HOME)) == "wait 1"
    assert await told(scene.worker.call(TENANT_DISABLE, **members, clientAddress=HOME)) == "wrong"


class Away(FakeUsers):
    """A database that answers nothing about users."""

    away = False

    async def find(self, tenant: str, login: str) -> User | None:
        if self.away:
            raise Unavailable
        return await super().find(tenant, login)


async def test_what_was_not_tried_is_not_counted() -> None:
    """When the database is away nothing is hashed, and afterwards as much is free as before."""
    users = Away()
    scene = await Scene(users=users).begin()
    users.away = True
    for _ in range(2 * LIMIT.undelayed):
        with pytest.raises(Unavailable):
            await scene.login(password="wrong", clientAddress=HOME)
    users.away = False
    await scene.use_up(clientAddress=HOME)


@pytest.mark.parametrize("off", ["account", "address"])
async def test_each_limit_can_be_switched_off(off: str) -> None:
    """Without one the other is as ever; without both nothing is counted at all."""
    without_account, without_address = replace(THROTTLE, account=None), replace(THROTTLE, address=None)
    throttle, left = {"account": (without_account, THROTTLE.address), "address": (without_address, LIMIT)}[off]
    assert left
    scene = await Scene(throttle=throttle).begin()
    answers = [await scene.guess("ann", clientAddress=HOME) for _ in range(100)]
    assert answers == ["wrong"] * left.undelayed + ["wait 1"] * (100 - left.undelayed)
    scene = await Scene(throttle=replace(THROTTLE, account=None, address=None)).begin()
    assert {await scene.guess("ann", clientAddress=HOME) for _ in range(100)} == {"wrong"}
    assert await told(scene.login(clientAddress=HOME)) == "right"


async def test_keys_tell_nothing(scene: Scene) -> None:
    """What is stored is no login, no address, and no password that somebody typed in the place of a login."""
    await scene.guess("my password", clientAddress=HOME)
    assert len(scene.worker.attempts.keys) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in scene.worker.attempts.keys)
