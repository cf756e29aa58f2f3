"""The service without HTTP: a neighbour on the broker calls the workers itself."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from shared.amqp.rpc_client import RpcClient
from shared.amqp.verification_batcher import VerificationBatcher
from shared.contracts.auth_login import AUTH_LOGIN, AuthLoginRequest
from shared.contracts.auth_logout import AUTH_LOGOUT, AuthLogoutRequest
from shared.contracts.auth_verify import VerifyCheck
from shared.contracts.errors import EmailTaken, InvalidToken, LoginTaken, RegistrationForbidden
from shared.contracts.tenant_register import TENANT_REGISTER, TenantRegisterReply, TenantRegisterRequest
from shared.contracts.user_create import USER_CREATE, UserCreateRequest
from tests.e2e.tenant import PASSWORD
from tests.service import RunningService


@pytest_asyncio.fixture
async def rpc(service: RunningService) -> AsyncIterator[RpcClient]:
    async with RpcClient([service.amqp_url], "a neighbour") as client, asyncio.timeout(30):
        await client.connected.wait()
        yield client


@pytest_asyncio.fixture
async def tenant(rpc: RpcClient) -> TenantRegisterReply:
    return await rpc.call(TENANT_REGISTER, _registration("let-me-in-please"))


def _registration(key: str | None) -> TenantRegisterRequest:
    return TenantRegisterRequest(
        email=f"{uuid.uuid4().hex}@tenant.test",
        password=SecretStr(PASSWORD),
        registration_key=SecretStr(key) if key else None,
    )


def _new_user(tenant: TenantRegisterReply) -> UserCreateRequest:
    return UserCreateRequest(
        tenant_token=tenant.token, email="ann@users.test", login="ann", password=SecretStr(PASSWORD), scope="all"
    )


def _login(tenant: TenantRegisterReply) -> AuthLoginRequest:
    return AuthLoginRequest(tenant_token=tenant.token, login="ann", password=SecretStr(PASSWORD), device_id="phone")


async def test_a_user_lives_without_http(rpc: RpcClient, tenant: TenantRegisterReply) -> None:
    """Register, create, log in, verify, log out: each is one call, and what goes wrong is an exception."""
    user = await rpc.call(USER_CREATE, _new_user(tenant))
    token = (await rpc.call(AUTH_LOGIN, _login(tenant))).access_token
    verifier = VerificationBatcher(rpc)
    check = VerifyCheck(tenant_token=tenant.token, token=token)
    claims = await verifier.verify(check)
    assert (claims.id, claims.login, claims.tenant, claims.scope) == (user.id, "ann", tenant.id, "all")

    await rpc.call(AUTH_LOGOUT, AuthLogoutRequest(tenant_token=tenant.token, token=token))
    with pytest.raises(InvalidToken):
        await verifier.verify(check)
    with pytest.raises(LoginTaken):
        await rpc.call(USER_CREATE, _new_user(tenant))


@pytest.mark.parametrize("key", [None, "let-me-in-pleas", "let-me-in-please "])
async def test_a_neighbour_registers_with_the_key_only(rpc: RpcClient, key: str | None) -> None:
    """Over AMQP nobody comes from an allowed network; the key alone opens."""
    with pytest.raises(RegistrationForbidden):
        await rpc.call(TENANT_REGISTER, _registration(key))


async def test_what_is_sent_twice_under_one_id_is_done_once(rpc: RpcClient) -> None:
    """A caller that got no answer repeats its request with its message id, and gets the answer of the first."""
    registration = _registration("let-me-in-please")
    tenants = [await rpc.call(TENANT_REGISTER, registration, message_id="register") for _ in range(2)]
    assert tenants[0] == tenants[1]
    users = [await rpc.call(USER_CREATE, _new_user(tenants[0]), message_id="create") for _ in range(2)]
    assert users[0] == users[1]
    logins = [await rpc.call(AUTH_LOGIN, _login(tenants[0]), message_id="login") for _ in range(2)]
    assert logins[0] == logins[1]

    assert await rpc.call(AUTH_LOGIN, _login(tenants[0]), message_id="another login") != logins[0]
    with pytest.raises(EmailTaken):
        await rpc.call(TENANT_REGISTER, registration, message_id="another registration")
    with pytest.raises(LoginTaken):
        await rpc.call(USER_CREATE, _new_user(tenants[0]), message_id="another user")
