"""The password policy, in each operation that sets a password."""

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


SETTERS = [register, create, update, update_with_email]


@pytest.mark.parametrize("set_password", SETTERS)
@pytest.mark.parametrize("password", ["password", "PassWord", "\uff50\uff41\uff53\uff53word", "iLoveYou"])
async def test_common_password_is_refused(set_password: SetPassword, password: str) -> None:
    """Case and Unicode form do not matter. The error does not repeat the password."""
    with pytest.raises(InvalidRequest) as refused:
        await set_password(InMemoryWorker(), password)
    assert refused.value.problems == (COMMON,)


@pytest.mark.parametrize("set_password", SETTERS)
@pytest.mark.parametrize("password", [EMAIL, EMAIL.upper(), "ann.the.person", "Ann.The.Person"])
async def test_password_equal_to_the_own_email_is_refused(set_password: SetPassword, password: str) -> None:
    """The rule covers the whole email and its part before the @, as they are after the change."""
    with pytest.raises(InvalidRequest) as refused:
        await set_password(InMemoryWorker(), password)
    assert refused.value.problems == (OWN_NAME,)


@pytest.mark.parametrize("set_password", [create, update, update_with_email])
@pytest.mark.parametrize("password", [LOGIN, LOGIN.title()])
async def test_password_equal_to_the_own_login_is_refused(set_password: SetPassword, password: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await set_password(InMemoryWorker(), password)
    assert refused.value.problems == (OWN_NAME,)


@pytest.mark.parametrize("set_password", SETTERS)
@pytest.mark.parametrize("password", ["password!", "not password", f"{EMAIL}!", f"not {LOGIN}", "\0\t\n\u202e    "])
async def test_password_that_only_contains_a_refused_one_is_accepted(set_password: SetPassword, password: str) -> None:
    """The policy compares whole passwords, and has no composition rules."""
    assert await set_password(InMemoryWorker(), password)


@pytest.mark.parametrize("set_password", SETTERS)
async def test_password_below_the_configured_minimum_is_refused(set_password: SetPassword) -> None:
    """Characters are counted in the normalized form."""
    hasher = FakeHasher()
    for password in ("fifteen chars!", "fifteen\u0301 chars"):
        with pytest.raises(InvalidRequest) as refused:
            await set_password(InMemoryWorker(hasher=hasher, min_password_chars=20), password)
        assert refused.value.problems == (FieldProblem(field="password", message="must have 20 to 256 characters"),)
    assert await set_password(InMemoryWorker(hasher=hasher, min_password_chars=15), "fifteen chars !")


async def test_login_with_a_password_below_the_minimum_is_accepted() -> None:
    """Existing passwords keep working."""
    worker = InMemoryWorker(min_password_chars=15)
    shop = await worker.register()
    ann = await worker.create(shop)
    stored = await worker.users.find(ann.tenant, "ann")
    assert stored is not None
    await worker.users.replace_hash(stored, await worker.ports.hasher.hash("8 chars!"))
    assert await worker.login(shop, password="8 chars!")


async def test_refused_password_is_neither_hashed_nor_stored() -> None:
    hasher = FakeHasher()
    worker = InMemoryWorker(hasher=hasher)
    with pytest.raises(InvalidRequest):
        await register(worker, "password")
    assert hasher.work == 0
    assert await worker.tenants.find_by_email(EMAIL) is None


async def test_login_with_a_common_password_is_accepted(worker: InMemoryWorker, shop: str) -> None:
    """The error of a wrong password does not reveal whether it is common."""
    ann = await worker.create(shop)
    stored = await worker.users.find(ann.tenant, "ann")
    assert stored is not None
    await worker.users.replace_hash(stored, await worker.ports.hasher.hash("password"))
    assert await worker.login(shop, password="password")
    with pytest.raises(InvalidCredentials):
        await worker.login(shop, password="iloveyou")


async def test_login_with_an_equivalent_unicode_form_is_accepted(worker: InMemoryWorker, shop: str) -> None:
    await worker.create(shop, password="cafe\u0301 au lait")
    fields = {"tenantToken": shop, "login": "ann", "deviceId": "phone"}
    for typed in ("caf\u00e9 au lait", "cafe\u0301 au lait", "\uff43\uff41\uff46\u00e9 au lait"):
        assert await worker.call(AUTH_LOGIN, **fields, password=typed)
