"""Which passwords may be chosen, wherever one is set."""

from collections.abc import Awaitable, Callable

import pytest

from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.errors import FieldProblem, InvalidCredentials, InvalidRequest
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.user_create import USER_CREATE
from shared.contracts.user_update import USER_UPDATE
from tests.fakes import FakeHasher
from tests.unit.worker.in_memory import InMemoryWorker

LOGIN = "ann.the.user"
EMAIL = "ann.the.person@example.com"
COMMON = FieldProblem(field="password", message="must not be a common password")
OWN_NAME = FieldProblem(
    field="password", message="must not be the login, the email or the part of the email before the @"
)

SetPassword = Callable[[InMemoryWorker, str], Awaitable[object]]


async def register(worker: InMemoryWorker, password: str) -> object:
    return await worker.call(TENANT_REGISTER, email=EMAIL, password=password)


async def create(worker: InMemoryWorker, password: str) -> object:
    shop = await worker.register()
    return await worker.call(USER_CREATE, tenantToken=shop, login=LOGIN, email=EMAIL, password=password)


async def update(worker: InMemoryWorker, password: str) -> object:
    shop = await worker.register()
    await worker.create(shop, LOGIN, email=EMAIL)
    return await worker.call(USER_UPDATE, tenantToken=shop, login=LOGIN, password=password)


async def update_with_email(worker: InMemoryWorker, password: str) -> object:
    shop = await worker.register()
    await worker.create(shop, LOGIN)
    return await worker.call(USER_UPDATE, tenantToken=shop, login=LOGIN, email=EMAIL, password=password)


SETTING = [register, create, update, update_with_email]


@pytest.mark.parametrize("set_password", SETTING)
@pytest.mark.parametrize("password", ["password", "PassWord", "\uff50\uff41\uff53\uff53word", "iLoveYou"])
async def test_a_common_password_is_refused(set_password: SetPassword, password: str) -> None:
    """In any case and in any spelling; the refusal names the field, and does not repeat what was chosen."""
    with pytest.raises(InvalidRequest) as refused:
        await set_password(InMemoryWorker(), password)
    assert refused.value.problems == (COMMON,)


@pytest.mark.parametrize("set_password", SETTING)
@pytest.mark.parametrize("password", [EMAIL, EMAIL.upper(), "ann.the.person", "Ann.The.Person"])
async def test_ones_own_email_is_refused(set_password: SetPassword, password: str) -> None:
    """The email as it is from now on, whole or up to the @."""
    with pytest.raises(InvalidRequest) as refused:
        await set_password(InMemoryWorker(), password)
    assert refused.value.problems == (OWN_NAME,)


@pytest.mark.parametrize("set_password", [create, update, update_with_email])
@pytest.mark.parametrize("password", [LOGIN, LOGIN.title()])
async def test_ones_own_login_is_refused(set_password: SetPassword, password: str) -> None:
    """In any case."""
    with pytest.raises(InvalidRequest) as refused:
        await set_password(InMemoryWorker(), password)
    assert refused.value.problems == (OWN_NAME,)


@pytest.mark.parametrize("set_password", SETTING)
@pytest.mark.parametrize("password", ["password!", "not password", f"{EMAIL}!", f"not {LOGIN}", "\0\t\n\u202e    "])
async def test_what_only_resembles_it_is_accepted(set_password: SetPassword, password: str) -> None:
    """Passwords are looked up whole: there are no rules about what has to be in them, or must not be."""
    assert await set_password(InMemoryWorker(), password)


@pytest.mark.parametrize("set_password", SETTING)
async def test_a_password_that_is_too_short_here_is_refused(set_password: SetPassword) -> None:
    """Where more characters are demanded than the contract does; they are those of the normalised form."""
    hasher = FakeHasher()
    for password in ("fifteen chars!", "fifteen\u0301 chars"):
        with pytest.raises(InvalidRequest) as refused:
            await set_password(InMemoryWorker(hasher=hasher, min_password_chars=20), password)
        assert refused.value.problems == (FieldProblem(field="password", message="must have 20 to 256 characters"),)
    assert await set_password(InMemoryWorker(hasher=hasher, min_password_chars=15), "fifteen chars !")


async def test_a_login_is_not_asked_for_a_longer_password() -> None:
    """Who has a short one logs in with it."""
    worker = InMemoryWorker(min_password_chars=15)
    shop = await worker.register()
    ann = await worker.create(shop)
    stored = await worker.users.find(ann.tenant, "ann")
    assert stored is not None
    await worker.users.replace_hash(stored, await worker.ports.hasher.hash("8 chars!"))
    assert await worker.login(shop, password="8 chars!")


async def test_a_refused_password_costs_no_work_and_changes_nothing() -> None:
    """It is refused before anything is hashed."""
    hasher = FakeHasher()
    worker = InMemoryWorker(hasher=hasher)
    with pytest.raises(InvalidRequest):
        await register(worker, "password")
    assert hasher.work == 0
    assert await worker.tenants.find_by_email(EMAIL) is None


async def test_a_login_is_not_asked_for_a_better_password(worker: InMemoryWorker, shop: str) -> None:
    """Who has a common password already logs in with it, and nobody hears that it is one."""
    ann = await worker.create(shop)
    stored = await worker.users.find(ann.tenant, "ann")
    assert stored is not None
    await worker.users.replace_hash(stored, await worker.ports.hasher.hash("password"))
    assert await worker.login(shop, password="password")
    with pytest.raises(InvalidCredentials):
        await worker.login(shop, password="iloveyou")


async def test_a_password_is_what_its_user_sees(worker: InMemoryWorker, shop: str) -> None:
    """Set in one sequence of code points, it logs in typed in another."""
    await worker.create(shop, password="cafe\u0301 au lait")
    fields = {"tenantToken": shop, "login": "ann", "deviceId": "phone"}
    for typed in ("caf\u00e9 au lait", "cafe\u0301 au lait", "\uff43\uff41\uff46\u00e9 au lait"):
        assert await worker.call(AUTH_LOGIN, **fields, password=typed)
