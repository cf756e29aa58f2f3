"""Isolation of tenants and of token kinds: tokens and logins of one tenant are useless for another."""

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.errors import (
    AuthError,
    Forbidden,
    InvalidCredentials,
    InvalidTenantToken,
    InvalidToken,
    UserNotFound,
)
from shared.contracts.oauth_token import OAUTH_TOKEN
from shared.contracts.operation import Operation, TenantRequest
from shared.contracts.operator_login import OPERATOR_LOGIN
from shared.contracts.permissions import INSTALLATION_PERMISSIONS
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.user import User
from tests.fakes import ISSUER, LIFETIMES, MASTER_KEYS
from tests.records import an_api_key
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker
from worker.adapters.jwt_tokens import JwtTokens

#: A valid request of each tenant operation, about the user `ann`; the tests add `token`.
REQUESTS: dict[str, dict[str, Any]] = {
    "principal.get": {},
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
    "settings.get": {},
    "settings.update": {"settings": {"maxKeyLifetimeDays": 90}},
    "key.create": {"name": "gateway", "permissions": ["tokens:verify"]},
    "key.list": {},
    "key.rotate": {},
    "key.revoke": {},
    "oauth.token": {},
    "operator.login": {"login": "ann", "password": PASSWORD, "deviceId": "phone"},
    "operator.logout": {},
    "operator.set_password": {"currentPassword": PASSWORD, "password": "another fine password"},
}
BY_TENANTS = {
    name: operation
    for name, operation in OPERATIONS.items()
    if issubclass(operation.request, TenantRequest) and operation.permission not in INSTALLATION_PERMISSIONS
}

Credential = Callable[[InMemoryWorker, str], Awaitable[str]]


async def call(worker: InMemoryWorker, operation: Operation[Any, Any], tenant_token: str, user_token: str) -> Any:
    fields = {**REQUESTS[operation.name], "tenantToken": tenant_token, "token": user_token}
    if operation.name == "session.revoke":
        fields["sessionId"] = (await worker.session_of(user_token)).id
    if operation.name in {"key.rotate", "key.revoke"}:
        key, _ = an_api_key(tenant=(await worker.session_of(user_token)).tenant)
        fields["id"] = (await worker.sessions.add(key)).id
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


def test_table_of_requests_holds_every_tenant_operation() -> None:
    assert set(BY_TENANTS) == set(REQUESTS)


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(
    "operation", [each for each in BY_TENANTS.values() if each is not OAUTH_TOKEN], ids=attrgetter("name")
)
async def test_request_with_a_live_tenant_token_is_accepted(
    worker: InMemoryWorker, shop: str, operation: Operation[Any, Any]
) -> None:
    """Shows that the requests below are refused only for their tenant token. No tenant token is an operator's."""
    token = await worker.login(shop)
    if operation.name.startswith("operator."):
        refusal = InvalidCredentials if operation is OPERATOR_LOGIN else Forbidden
        with pytest.raises(refusal):
            await call(worker, operation, shop, token)
    else:
        assert await call(worker, operation, shop, token)


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("operation", BY_TENANTS.values(), ids=BY_TENANTS)
@pytest.mark.parametrize("credential", [garbage, user_token, logged_out, expired, signed_with_another_key])
async def test_request_without_a_live_tenant_token_is_refused(
    worker: InMemoryWorker, shop: str, operation: Operation[Any, Any], credential: Credential
) -> None:
    """The refused request changes nothing."""
    token = await worker.login(shop)
    presented = await credential(worker, shop)
    announced = len(worker.events.announced)
    with pytest.raises(InvalidTenantToken):
        await call(worker, operation, presented, token)
    assert len(worker.events.announced) == announced


@pytest.mark.parametrize(
    "name", ["user.get", "user.update", "user.delete", "session.list", "session.revoke", "session.revoke_all"]
)
async def test_login_of_another_tenant_is_not_found(worker: InMemoryWorker, shop: str, ann: User, name: str) -> None:
    """Nothing happens to its user."""
    token = await worker.login(shop)
    bank = await worker.register("bank@example.com")
    with pytest.raises(UserNotFound):
        await call(worker, OPERATIONS[name], bank, token)
    assert (await worker.verify(shop, token)).id == ann.id
    assert worker.events.announced == []


@pytest.mark.parametrize("name", ["user.update", "user.delete", "session.revoke_all"])
async def test_change_of_a_user_leaves_the_same_login_of_another_tenant(
    worker: InMemoryWorker, shop: str, ann: User, name: str
) -> None:
    token = await worker.login(shop)
    bank = await worker.register("bank@example.com")
    await worker.create(bank, "ann")
    await call(worker, OPERATIONS[name], bank, await worker.login(bank))
    assert (await worker.verify(shop, token)).id == ann.id
    assert await worker.login(shop)


@pytest.mark.usefixtures("ann")
async def test_login_of_another_tenants_user_is_refused(worker: InMemoryWorker) -> None:
    bank = await worker.register("bank@example.com")
    with pytest.raises(InvalidCredentials):
        await worker.login(bank, "ann", password=PASSWORD)


@pytest.mark.usefixtures("ann")
async def test_user_token_of_another_tenant_is_invalid(worker: InMemoryWorker, shop: str) -> None:
    """This holds for verification and logout."""
    token = await worker.login(shop)
    bank = await worker.register("bank@example.com")
    with pytest.raises(InvalidToken):
        await worker.verify(bank, token)
    with pytest.raises(InvalidToken):
        await worker.call(AUTH_LOGOUT, tenantToken=bank, token=token)
    assert (await worker.verify(shop, token)).login == "ann"


async def test_tenant_token_in_place_of_a_user_token_is_invalid(worker: InMemoryWorker, shop: str) -> None:
    """This holds for the own token and for that of another tenant."""
    bank = await worker.register("bank@example.com")
    for token in (shop, bank):
        with pytest.raises(InvalidToken):
            await worker.verify(shop, token)
        with pytest.raises(InvalidToken):
            await worker.call(AUTH_LOGOUT, tenantToken=shop, token=token)


@pytest.mark.usefixtures("ann")
async def test_verification_error_is_the_same_for_foreign_revoked_and_malformed_tokens(
    worker: InMemoryWorker, shop: str
) -> None:
    """Otherwise a tenant could find out which tokens of others are live."""
    token, dead = await worker.login(shop), await worker.login(shop)
    await worker.call(AUTH_LOGOUT, tenantToken=shop, token=dead)
    bank = await worker.register("bank@example.com")
    checks = [{"tenantToken": bank, "token": asked} for asked in (token, dead, shop, "nonsense")]
    answers: list[AuthError | str] = []
    for answer in (await worker.call(AUTH_VERIFY, checks=checks)).answers:
        assert answer.error is not None
        answers.append(answer.error.model_dump_json())
    assert len(set(answers)) == 1
