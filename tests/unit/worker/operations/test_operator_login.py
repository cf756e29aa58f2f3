"""operator.login"""

from datetime import timedelta

import pytest

from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.errors import AuthError, InvalidCredentials, InvalidTenantToken, InvalidToken, Throttled
from shared.contracts.operator_login import OPERATOR_LOGIN
from shared.contracts.permissions import OPERATOR_PERMISSIONS
from shared.contracts.principal_get import PRINCIPAL_GET, CredentialKind
from shared.contracts.token_introspect import TOKEN_INTROSPECT
from shared.contracts.user_update import USER_UPDATE
from tests.fakes import ISSUER, LIFETIMES, LIMIT, FakeHasher
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

LAPTOP = {"password": PASSWORD, "deviceId": "laptop"}


async def test_login_of_an_operator_returns_a_token_with_its_permissions(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    token = await worker.operator_login(office)
    principal = await worker.call(PRINCIPAL_GET, tenantToken=token)
    assert (principal.credential, principal.login) == (CredentialKind.OPERATOR_TOKEN, "olga")
    assert set(principal.permissions) == OPERATOR_PERMISSIONS
    session = await worker.session_of(token)
    assert session.expires_at - session.issued_at == LIFETIMES.operator
    claims = worker.ports.tokens.verify(token, session, worker.clock.now())
    assert (claims.aud, claims.device_id, claims.scope) == (ISSUER, "laptop", None)


async def test_operators_token_ends_after_its_lifetime(worker: InMemoryWorker) -> None:
    token = await worker.operator_login(await worker.open_office())
    worker.clock.advance(LIFETIMES.operator - timedelta(seconds=1))
    assert await worker.call(PRINCIPAL_GET, tenantToken=token)
    worker.clock.advance(timedelta(seconds=1))
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=token)


async def test_wrong_password_unknown_login_and_other_users_cost_the_same_and_get_the_same_reply() -> None:
    """A right password of a user that is no operator, and of another tenant's user, tells nothing either."""
    hasher = FakeHasher()
    worker = InMemoryWorker(hasher=hasher)
    office, shop = await worker.open_office(), await worker.register()
    await worker.create(shop)
    replies, work = set(), set()
    for tenant_token, login, password in (
        (office, "olga", "wrong"),
        (office, "nobody", PASSWORD),
        (office, "oskar", PASSWORD),
        (office, "oskar", "wrong"),
        (shop, "ann", PASSWORD),
        (shop, "nobody", PASSWORD),
    ):
        before = hasher.work
        with pytest.raises(InvalidCredentials) as refused:
            await worker.operator_login(tenant_token, login, password=password)
        replies.add(refused.value.to_reply().model_dump_json())
        work.add(hasher.work - before)
    assert (len(replies), len(work)) == (1, 1)


async def test_without_an_operators_tenant_nobody_logs_in(worker: InMemoryWorker) -> None:
    shop = await worker.register()
    await worker.add_operator(shop, "olga", OPERATOR_PERMISSIONS)
    assert worker.ports.operator_tenant is None
    with pytest.raises(InvalidCredentials):
        await worker.operator_login(shop)


async def test_wrong_passwords_of_both_logins_are_counted_together(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    for number in range(LIMIT.undelayed):
        log_in = worker.login if number % 2 else worker.operator_login
        with pytest.raises(InvalidCredentials):
            await log_in(office, "olga", password="wrong")
    with pytest.raises(Throttled):
        await worker.operator_login(office)


@pytest.mark.parametrize("credential", ["operator", "user"])
async def test_login_needs_a_credential_of_a_tenant(worker: InMemoryWorker, credential: str) -> None:
    """An operator's permissions never include `auth:login`."""
    office = await worker.open_office()
    token = await (worker.operator_login(office) if credential == "operator" else worker.login(office, "olga"))
    with pytest.raises(AuthError) as refused:
        await worker.operator_login(token)
    assert refused.value.code == ("forbidden" if credential == "operator" else "invalid_tenant_token")


async def test_logins_with_one_message_id_open_sessions_of_their_own_kinds(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    request = {"tenantToken": office, "login": "olga", **LAPTOP}
    user = (await worker.call(AUTH_LOGIN, "message", **request)).access_token
    operator = (await worker.call(OPERATOR_LOGIN, "message", **request)).access_token
    assert (await worker.verify(office, user)).login == "olga"
    assert await worker.call(PRINCIPAL_GET, tenantToken=operator)


async def test_users_token_of_an_operator_is_no_operators_token(worker: InMemoryWorker) -> None:
    """Neither permissions nor a wildcard scope of the user give it any power."""
    office = await worker.open_office()
    await worker.call(USER_UPDATE, tenantToken=office, login="olga", scope={"*": ["*"]})
    token = await worker.login(office, "olga")
    assert not (await worker.session_of(token)).is_operator
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=token)


async def test_operators_token_is_no_users_token(worker: InMemoryWorker) -> None:
    office = await worker.open_office()
    token = await worker.operator_login(office)
    with pytest.raises(InvalidToken):
        await worker.verify(office, token)
    with pytest.raises(InvalidToken):
        await worker.call(AUTH_LOGOUT, tenantToken=office, token=token)
    assert not (await worker.call(TOKEN_INTROSPECT, tenantToken=office, token=token)).active
    assert await worker.call(PRINCIPAL_GET, tenantToken=token)


async def test_login_rehashes_a_password_with_outdated_parameters() -> None:
    hasher = FakeHasher()
    worker = InMemoryWorker(hasher=hasher)
    office = await worker.open_office()
    hasher.parameters = "tomorrow"
    await worker.operator_login(office)
    user = await worker.users.find((await worker.session_of(office)).tenant, "olga")
    assert user is not None
    assert not hasher.is_stale(user.password_hash)


async def test_session_limit_includes_operators_sessions() -> None:
    worker = InMemoryWorker(max_sessions_per_user=1)
    office = await worker.open_office()
    first = await worker.operator_login(office)
    worker.clock.advance(timedelta(seconds=1))
    second = await worker.operator_login(office)
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=first)
    assert await worker.call(PRINCIPAL_GET, tenantToken=second)
