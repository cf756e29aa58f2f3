"""Tenants are isolated, and kinds of tokens are: what one may do with the tokens and logins of another is nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.errors import (
    AuthError,
    InvalidCredentials,
    InvalidTenantToken,
    InvalidToken,
    UserNotFound,
)
from shared.contracts.operation import Operation, TenantRequest
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.user import User
from tests.fakes import ISSUER, LIFETIMES, MASTER_KEYS
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.adapters.jwt_tokens import JwtTokens

#: A valid request of each operation that a tenant makes, about its user `ann`; `token` is put in by the test.
REQUESTS: dict[str, dict[str, Any]] = {
    "tenant.update": {"currentPassword": PASSWORD},
    "user.create": {"login": "bob", "email": "bob@example.com", "password": PASSWORD},
    "user.get": {"login": "ann"},
    "user.list": {},
    "user.update": {"login": "ann", "scope": "all"},
    "user.delete": {"login": "ann"},
    "auth.login": {"login": "ann", "password": PASSWORD, "deviceId": "phone"},
    "auth.logout": {},
    "token.introspect": {},
    "token.revoke": {},
    "session.list": {"login": "ann"},
    "session.revoke": {"login": "ann"},
    "session.revoke_all": {"login": "ann"},
    "event.list": {},
    "audit.list": {},
}
BY_TENANTS = {name: operation for name, operation in OPERATIONS.items() if issubclass(operation.request, TenantRequest)}

Credential = Callable[[InMemoryWorker, str], Awaitable[str]]


async def call(worker: InMemoryWorker, operation: Operation[Any, Any], tenant_token: str, user_token: str) -> Any:
    fields = {**REQUESTS[operation.name], "tenantToken": tenant_token, "token": user_token}
    if operation.name == "session.revoke":
        fields["sessionId"] = (await worker.session_of(user_token)).id
    return await worker.call(operation, **fields)


async def garbage(_worker: InMemoryWorker, _tenant_token: str) -> str:
    return "a.b.c"


async def user_token(worker: InMemoryWorker, tenant_token: str) -> str:
    return await worker.login(tenant_token)


async def logged_out(worker: InMemoryWorker, tenant_token: str) -> str:
    await worker.call(TENANT_LOGOUT, token=tenant_token)
    return tenant_token


async def expired(worker: InMemoryWorker, tenant_token: str) -> str:
    worker.clock.advance(LIFETIMES.tenant)
    return tenant_token


async def signed_with_another_key(worker: InMemoryWorker, tenant_token: str) -> str:
    session = await worker.session_of(tenant_token)
    claims = worker.ports.tokens.verify(tenant_token, session, worker.clock.now())
    return JwtTokens({key_id: bytes(32) for key_id in MASTER_KEYS}, ISSUER).sign(session, claims)


def test_every_operation_of_a_tenant_is_tried() -> None:
    """An operation that takes a tenant token stands in this module's table."""
    assert set(BY_TENANTS) == set(REQUESTS)


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("operation", BY_TENANTS.values(), ids=BY_TENANTS)
async def test_a_tenant_token_is_accepted(worker: InMemoryWorker, shop: str, operation: Operation[Any, Any]) -> None:
    """The requests that are refused below are refused for their tenant token alone."""
    assert await call(worker, operation, shop, await worker.login(shop))


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("operation", BY_TENANTS.values(), ids=BY_TENANTS)
@pytest.mark.parametrize("credential", [garbage, user_token, logged_out, expired, signed_with_another_key])
async def test_nothing_else_is_a_tenant_token(
    worker: InMemoryWorker, shop: str, operation: Operation[Any, Any], credential: Credential
) -> None:
    """What is not a live tenant token opens no operation, and nothing happens."""
    token = await worker.login(shop)
    presented = await credential(worker, shop)
    announced = len(worker.events.announced)
    with pytest.raises(InvalidTenantToken):
        await call(worker, operation, presented, token)
    assert len(worker.events.announced) == announced


@pytest.mark.parametrize(
    "name", ["user.get", "user.update", "user.delete", "session.list", "session.revoke", "session.revoke_all"]
)
async def test_another_tenants_login_is_unknown(worker: InMemoryWorker, shop: str, ann: User, name: str) -> None:
    """A login of one tenant is nobody to another, and nothing happens to its user."""
    token = await worker.login(shop)
    bank = await worker.register("bank@example.com")
    with pytest.raises(UserNotFound):
        await call(worker, OPERATIONS[name], bank, token)
    assert (await worker.verify(shop, token)).id == ann.id
    assert worker.events.announced == []


@pytest.mark.parametrize("name", ["user.update", "user.delete", "session.revoke_all"])
async def test_what_happens_to_a_namesake_stays_there(worker: InMemoryWorker, shop: str, ann: User, name: str) -> None:
    """Changing or removing one's own `ann` does not touch another tenant's `ann`."""
    token = await worker.login(shop)
    bank = await worker.register("bank@example.com")
    await worker.create(bank, "ann")
    await call(worker, OPERATIONS[name], bank, await worker.login(bank))
    assert (await worker.verify(shop, token)).id == ann.id
    assert await worker.login(shop)


@pytest.mark.usefixtures("ann")
async def test_another_tenants_user_cannot_log_in(worker: InMemoryWorker) -> None:
    """The right password of another tenant's user is a wrong one."""
    bank = await worker.register("bank@example.com")
    with pytest.raises(InvalidCredentials):
        await worker.login(bank, "ann", password=PASSWORD)


@pytest.mark.usefixtures("ann")
async def test_another_tenants_user_token_is_invalid(worker: InMemoryWorker, shop: str) -> None:
    """Neither verified nor logged out by anybody but its own tenant."""
    token = await worker.login(shop)
    bank = await worker.register("bank@example.com")
    with pytest.raises(InvalidToken):
        await worker.verify(bank, token)
    with pytest.raises(InvalidToken):
        await worker.call(AUTH_LOGOUT, tenantToken=bank, token=token)
    assert (await worker.verify(shop, token)).login == "ann"


async def test_a_tenant_token_is_no_user_token(worker: InMemoryWorker, shop: str) -> None:
    """Its own or another's: a tenant token is invalid where a user token belongs."""
    bank = await worker.register("bank@example.com")
    for token in (shop, bank):
        with pytest.raises(InvalidToken):
            await worker.verify(shop, token)
        with pytest.raises(InvalidToken):
            await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)


@pytest.mark.usefixtures("ann")
async def test_a_strangers_question_is_answered_with_the_same_words(worker: InMemoryWorker, shop: str) -> None:
    """Another tenant's token, a dead one and nonsense cannot be told apart by their answers."""
    token, dead = await worker.login(shop), await worker.login(shop)
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=dead)
    bank = await worker.register("bank@example.com")
    checks = [{"tenantToken": bank, "token": asked} for asked in (token, dead, shop, "nonsense")]
    answers: list[AuthError | str] = []
    for answer in (await worker.call(AUTH_VERIFY, checks=checks)).answers:
        assert answer.error is not None
        answers.append(answer.error.model_dump_json())
    assert len(set(answers)) == 1
