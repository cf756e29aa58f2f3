"""A client that connects with an API key: forms of credentials, refused keys, missing permissions, secrecy."""

import logging
from typing import Any

import pytest
from pydantic import SecretStr

from shared.asgi import ServiceAuth
from shared.client.accounts import ApiKeys, TenantAccount, UserAccounts
from shared.client.auth_client import AuthClient
from shared.client.retries import RetryingRpcClient
from shared.client.tenant_session import REJECTED_CREDENTIALS_SECONDS, TenantSession
from shared.contracts.api_key import new_api_key
from shared.contracts.errors import (
    AuthError,
    Forbidden,
    InvalidTenantToken,
    ServiceCredentialsRejected,
    Throttled,
    Unavailable,
)
from shared.contracts.key_create import KEY_CREATE
from shared.contracts.key_rotate import KEY_ROTATE
from shared.contracts.operation import Operation, ReplyT, RequestT
from shared.contracts.permissions import Permission
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.tenant_update import TENANT_UPDATE
from shared.contracts.user_list import USER_LIST, USERS_PER_PAGE
from tests.unit.shared.test_tenant_session import Clock

KEY = new_api_key("k" * 22)
PASSWORD = "correct horse battery"
API_KEY = {
    "id": "k" * 22,
    "name": "gateway",
    "permissions": ["users:read"],
    "networks": [],
    "createdAt": 1,
    "createdBy": "tenant:shop@x.test",
    "expiresAt": 2,
    "lastUsedAt": None,
}
REPLIES: dict[str, Any] = {
    USER_LIST.name: {"users": [], "nextCursor": "0"},
    TENANT_UPDATE.name: {"token": "new", "accessToken": "new"},
    PRINCIPAL_GET.name: {
        "credential": "api_key",
        "tenant": "shop",
        "sessionId": "k" * 22,
        "login": "gateway",
        "permissions": ["users:read"],
        "exp": 1,
    },
    KEY_CREATE.name: {"key": API_KEY, "apiKey": KEY},
    KEY_ROTATE.name: {"key": API_KEY, "apiKey": KEY},
}


class Workers:
    """Implements `Rpc`: fake workers that accept the key unless they have a refusal."""

    def __init__(self) -> None:
        self.refusal: AuthError | None = None
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def call(
        self,
        operation: Operation[RequestT, ReplyT],
        request: RequestT,
        *,
        request_id: str | None = None,  # noqa: ARG002 - the interface
        message_id: str | None = None,  # noqa: ARG002 - the interface
        timeout_seconds: float = 1,  # noqa: ARG002 - the interface
    ) -> ReplyT:
        self.calls.append((operation.name, request.model_dump(mode="json", exclude_unset=True, by_alias=False)))
        if self.refusal:
            raise self.refusal
        return operation.reply.model_validate(REPLIES[operation.name])


class Service:
    """A service with an API key, its fake workers and its clock."""

    def __init__(self) -> None:
        self.workers = Workers()
        self.clock = Clock()
        rpc = RetryingRpcClient(self.workers, 1)
        self.session = TenantSession(rpc, None, None, api_key=SecretStr(KEY), monotonic=self.clock)
        self.tenant = TenantAccount(rpc, self.session)
        self.users = UserAccounts(self.session)
        self.keys = ApiKeys(self.session)


@pytest.mark.parametrize(
    "credentials",
    [
        {"api_key": ""},
        {"api_key": KEY[:-1]},
        {"api_key": f"{KEY} "},
        {"api_key": f"{KEY[:-1]}{'a' if KEY[-1] != 'a' else 'b'}"},
        {"api_key": KEY, "tenant_token": "token"},
        {"api_key": KEY, "email": "shop@x.test", "password": PASSWORD},
        {"api_key": KEY, "password": PASSWORD},
        {"api_key": KEY, "anonymous": True},
        {},
    ],
)
async def test_credentials_of_a_wrong_form_raise_a_value_error_without_the_key(credentials: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="api_key") as refused:
        async with AuthClient.connect("amqp://127.0.0.1:1", **credentials):
            pass
    assert KEY[26:60] not in str(refused.value)


def test_repr_of_what_holds_the_key_does_not_show_it() -> None:
    service = Service()
    service_auth = ServiceAuth("amqp://broker.invalid", api_key=KEY)
    held = (service.session, vars(service.session), service_auth, vars(service_auth))
    assert KEY[26:60] not in "".join(map(repr, held))


async def test_client_with_a_key_sends_it_and_never_logs_in() -> None:
    service = Service()
    assert await service.session.tenant() == await service.session.tenant() == "shop"
    await service.users.list()
    await service.keys.create("gateway", [Permission.USERS_READ])
    await service.keys.create("job", ["users:read"], expires_in_days=7, networks=["10.0.0.0/8"])
    issued = await service.keys.rotate("k" * 22, overlap_seconds=0)
    assert (issued.api_key, KEY in repr(issued)) == (KEY, False)
    assert [(name, {**sent, "tenant_token": ""}) for name, sent in service.workers.calls] == [
        (PRINCIPAL_GET.name, {"tenant_token": ""}),
        (USER_LIST.name, {"tenant_token": "", "q": "", "cursor": "0", "limit": USERS_PER_PAGE}),
        (KEY_CREATE.name, {"tenant_token": "", "name": "gateway", "permissions": ["users:read"]}),
        (
            KEY_CREATE.name,
            {
                "tenant_token": "",
                "name": "job",
                "permissions": ["users:read"],
                "expires_in_days": 7,
                "networks": ["10.0.0.0/8"],
            },
        ),
        (KEY_ROTATE.name, {"tenant_token": "", "id": "k" * 22, "overlap_seconds": 0}),
    ]
    assert {sent["tenant_token"] for _, sent in service.workers.calls} == {KEY}


async def test_refused_key_is_sent_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Each wrong secret counts as a guess, and calls of users arrive all the time."""
    service = Service()
    for minute in range(1, 3):
        service.workers.refusal = InvalidTenantToken()
        for _ in range(3):
            with pytest.raises(ServiceCredentialsRejected, match="API key is rejected"):
                await service.users.list()
        assert len(service.workers.calls) == minute
        service.clock.now += REJECTED_CREDENTIALS_SECONDS
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2
    assert KEY[26:60] not in caplog.text
    service.workers.refusal = None
    await service.users.list()
    await service.users.list()


async def test_refused_key_whose_guesses_are_throttled_stays_refused() -> None:
    """`Throttled` would look as if the login of a user were throttled."""
    service = Service()
    service.workers.refusal = InvalidTenantToken()
    with pytest.raises(ServiceCredentialsRejected):
        await service.users.list()
    service.clock.now += REJECTED_CREDENTIALS_SECONDS
    service.workers.refusal = Throttled()
    for _ in range(2):
        with pytest.raises(ServiceCredentialsRejected):
            await service.users.list()
    service.clock.now += REJECTED_CREDENTIALS_SECONDS
    service.workers.refusal = None
    await service.users.list()
    service.workers.refusal = Throttled()
    with pytest.raises(Throttled):
        await service.users.list()


async def test_missing_permission_is_raised_and_logged_once_a_minute_with_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service()
    for permission in ("users:read", "users:read", "audit:read"):
        service.workers.refusal = Forbidden.without(permission)
        with pytest.raises(Forbidden, match=permission):
            await service.users.list()
    assert [(record.levelno, record.__dict__["permission"]) for record in caplog.records] == [
        (logging.ERROR, "users:read"),
        (logging.ERROR, "audit:read"),
    ]
    assert "users:read" in caplog.records[0].getMessage()
    service.clock.now += REJECTED_CREDENTIALS_SECONDS
    with pytest.raises(Forbidden):
        await service.users.list()
    assert len(caplog.records) == 3


async def test_calls_that_need_the_tenants_password_are_refused_without_sending_the_key() -> None:
    """A worker would answer `invalid_tenant_token`, and the client would take the key for revoked."""
    service = Service()
    for call in (service.tenant.update(PASSWORD), service.tenant.disable(PASSWORD), service.tenant.delete(PASSWORD)):
        with pytest.raises(ServiceCredentialsRejected, match="`email` and `password`"):
            await call
    assert not service.workers.calls
    await service.users.list()


async def test_outage_does_not_reject_the_key() -> None:
    service = Service()
    service.workers.refusal = Unavailable()
    with pytest.raises(Unavailable):
        await service.users.list()
    service.workers.refusal = None
    await service.users.list()
