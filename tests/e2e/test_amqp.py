"""The service without HTTP: a service on the broker calls the workers directly."""

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
    async with RpcClient([service.amqp_url], "a service") as client, asyncio.timeout(30):
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


async def test_user_operations_over_amqp_are_one_call_each(rpc: RpcClient, tenant: TenantRegisterReply) -> None:
    """The client raises failures as exceptions."""
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
async def test_registration_over_amqp_without_the_key_is_forbidden(rpc: RpcClient, key: str | None) -> None:
    """Allowed networks apply to HTTP only."""
    with pytest.raises(RegistrationForbidden):
        await rpc.call(TENANT_REGISTER, _registration(key))


async def test_repeated_message_id_returns_the_first_reply(rpc: RpcClient) -> None:
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
