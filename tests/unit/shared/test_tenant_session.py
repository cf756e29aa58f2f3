"""The tenant session of a client: its login, renewal, and refused credentials."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from shared.client.accounts import TenantAccount, UserAccounts
from shared.client.retries import RetryingRpcClient
from shared.client.tenant_session import REJECTED_CREDENTIALS_SECONDS, TenantSession
from shared.contracts.errors import (
    AuthError,
    DeadlineExceeded,
    ErrorReply,
    InternalError,
    InvalidCredentials,
    InvalidTenantToken,
    InvalidToken,
    Overloaded,
    ServiceCredentialsRejected,
    Throttled,
    Unavailable,
    from_reply,
)
from shared.contracts.operation import Operation, ReplyT, RequestT
from shared.contracts.tenant_login import TENANT_LOGIN, TenantLoginRequest
from shared.contracts.tenant_update import TenantUpdateRequest
from shared.contracts.tenant_verify import TENANT_VERIFY, TenantVerifyRequest
from shared.contracts.user_list import UserListRequest
from shared.contracts.wire import WireModel
from tests.records import some_claims

PASSWORD = SecretStr("correct horse battery")


class Clock:
    """A clock that the test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class FakeRpc:
    """Implements `Rpc`: it answers by itself."""

    async def call(
        self,
        operation: Operation[RequestT, ReplyT],
        request: RequestT,
        *,
        request_id: str | None = None,  # noqa: ARG002 - the overridden signature
        message_id: str | None = None,  # noqa: ARG002 - the overridden signature
        timeout_seconds: float = 1,  # noqa: ARG002 - the overridden signature
    ) -> ReplyT:
        return operation.reply.model_validate(await self.answer(request))

    async def answer(self, request: WireModel) -> dict[str, Any]:
        """Return the members of the reply."""
        raise NotImplementedError


class Workers(FakeRpc):
    """Fake workers that log in known tenants and record each attempt. The token of a tenant is its email."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.logins: list[str] = []
        self.throttle = False
        self.refusal: AuthError | None = None

    async def answer(self, request: WireModel) -> dict[str, Any]:
        if isinstance(request, TenantLoginRequest):
            self.logins.append(request.email)
            if self.refusal:
                raise self.refusal
            if self.throttle:
                raise Throttled
            if request.email not in self.known:
                raise InvalidCredentials
            return {"token": request.email, "accessToken": request.email}
        assert isinstance(request, TenantVerifyRequest)
        if request.token not in self.known:
            raise InvalidToken
        return {"decoded": some_claims(tenant=request.token)}


def session(workers: Workers, email: str | None = None) -> TenantSession:
    return TenantSession(RetryingRpcClient(workers, 1), email, PASSWORD if email else None)


async def test_tenant_requested_twice_costs_one_login() -> None:
    workers = Workers("a@x.test")
    mine = session(workers, "a@x.test")
    assert [await mine.tenant() for _ in range(2)] == ["a@x.test"] * 2
    assert workers.logins == ["a@x.test"]


async def test_session_without_credentials_takes_over_those_of_a_registration() -> None:
    """It can then renew itself as that tenant."""
    workers = Workers("new@x.test")
    mine = session(workers)
    mine.begin("new@x.test", PASSWORD, "ended")
    assert await mine.tenant() == "new@x.test"
    assert workers.logins == ["new@x.test"]


async def test_session_with_a_tenant_ignores_a_registration() -> None:
    """Subscriptions and cached answers belong to the first tenant."""
    mine = session(Workers("a@x.test", "new@x.test"), "a@x.test")
    mine.begin("new@x.test", PASSWORD, "new@x.test")
    assert await mine.tenant() == "a@x.test"


@pytest.mark.parametrize("use", ["tenant", "call"])
async def test_rejected_credentials_are_sent_again_after_a_while(use: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every user's call needs the tenant's session, and each login costs the workers a password hash."""
    workers, clock = Workers(), Clock()
    mine = TenantSession(RetryingRpcClient(workers, 1), "a@x.test", PASSWORD, monotonic=clock)
    users = UserAccounts(mine)

    async def reject() -> None:
        with pytest.raises(ServiceCredentialsRejected):
            await (mine.tenant() if use == "tenant" else users.list())

    for _ in range(3):
        await reject()
    assert len(workers.logins) == 1
    clock.now += REJECTED_CREDENTIALS_SECONDS
    for _ in range(3):
        await reject()
    assert len(workers.logins) == 2
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert errors == [ServiceCredentialsRejected.text] * 2
    workers.known.add("a@x.test")
    clock.now += REJECTED_CREDENTIALS_SECONDS
    assert await mine.tenant() == "a@x.test"


async def test_unknown_refusal_of_the_tenants_login_is_no_users_fault() -> None:
    """A newer service may refuse a login with a code that this client does not know."""
    workers = Workers("a@x.test")
    workers.refusal = from_reply(ErrorReply(code="tenant_suspended", message="bill is not paid"))
    with pytest.raises(ServiceCredentialsRejected, match="bill is not paid"):
        await session(workers, "a@x.test").tenant()


async def test_rejected_tenant_token_without_a_password_is_the_services_own() -> None:
    mine = TenantSession(RetryingRpcClient(Workers(), 1), None, None, "revoked")
    with pytest.raises(ServiceCredentialsRejected, match="tenant token is rejected"):
        await mine.tenant()


@pytest.mark.parametrize(
    ("email", "password", "token", "field"),
    [
        ("shop@x.test", None, None, "password"),
        (None, "correct horse battery", None, "email"),
        ("shop.x.test", "correct horse battery", None, "email"),
        ("shop@x.test", "", None, "password"),
        (None, None, "", "token"),
    ],
)
def test_malformed_credentials_raise_a_value_error_with_the_field(
    email: str | None, password: str | None, token: str | None, field: str
) -> None:
    """A worker would answer `InvalidRequest`, which looks like a mistake of a user."""
    secret = None if password is None else SecretStr(password)
    with pytest.raises(ValueError, match=field) as raised:
        TenantSession(RetryingRpcClient(Workers(), 1), email, secret, token)
    assert "correct horse" not in str(raised.value)


async def test_throttled_tenant_login_is_raised_as_unavailable() -> None:
    """The caller may have asked for a user's login, which is not throttled."""
    workers = Workers("a@x.test")
    workers.throttle = True
    mine = session(workers, "a@x.test")
    with pytest.raises(Unavailable):
        await mine.tenant()
    workers.throttle = False
    assert await mine.tenant() == "a@x.test"


class Accounts(FakeRpc):
    """Fake workers that know one tenant, its password and its token.

    An update raises `refuse` before the change. After the change it waits for `let_go` and raises
    `lost`; its retry raises `then`.
    """

    def __init__(self) -> None:
        self.password = "old password"
        self.token = "token 0"
        self.lost: type[AuthError] | None = None
        self.refuse: type[AuthError] | None = None
        self.then: type[AuthError] | None = None
        self.deciding = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.tried: list[str] = []

    async def answer(self, request: WireModel) -> dict[str, Any]:
        if isinstance(request, TenantLoginRequest):
            self.tried.append(request.password.get_secret_value())
            if self.tried[-1] != self.password:
                raise InvalidCredentials
        elif isinstance(request, TenantUpdateRequest):
            if request.tenant_token != self.token and not (self.then and self.deciding.is_set()):
                raise InvalidTenantToken
            if self.refuse:
                raise self.refuse
            if self.lost and self.then and self.password == "new password":
                raise self.then
            if request.password:
                self.password = request.password.get_secret_value()
        elif isinstance(request, UserListRequest):
            if request.tenant_token != self.token:
                raise InvalidTenantToken
            return {"users": [], "nextCursor": "0"}
        self.token += "+"
        if isinstance(request, TenantUpdateRequest):
            self.deciding.set()
            await self.let_go.wait()
            if self.lost:
                raise self.lost
        return {"token": self.token, "accessToken": self.token}


def clients(workers: Accounts, email: str | None = "a@x.test") -> tuple[TenantAccount, UserAccounts]:
    calls = RetryingRpcClient(workers, 1)
    mine = TenantSession(calls, email, SecretStr("old password") if email else None, workers.token)
    return TenantAccount(calls, mine), UserAccounts(mine)


async def test_call_during_a_password_change_waits_for_the_new_token() -> None:
    """The old token is invalid, and a login with the old password would count as a failed attempt."""
    workers = Accounts()
    tenant, users = clients(workers)
    workers.let_go.clear()
    update = asyncio.create_task(tenant.update("old password", password="new password"))
    await workers.deciding.wait()
    lists = [asyncio.create_task(users.list()) for _ in range(5)]
    await asyncio.sleep(0.01)
    workers.let_go.set()
    assert await update == workers.token
    await asyncio.gather(*lists)
    assert not workers.tried


@pytest.mark.parametrize("lost", [DeadlineExceeded, InternalError])
async def test_password_change_with_a_lost_answer_tries_both_passwords(lost: type[AuthError]) -> None:
    """Either password may be valid; the session keeps the one that works."""
    workers = Accounts()
    tenant, users = clients(workers)
    workers.lost = lost
    with pytest.raises(lost):
        await tenant.update("old password", password="new password")
    await users.list()
    workers.token += "ended"
    await users.list()
    assert workers.tried == ["new password", "new password"]
    workers.lost = None
    workers.token += "ended"
    await tenant.update("new password", password="third password")
    workers.password = "new password"  # reset by an operator
    workers.token += "ended"
    with pytest.raises(ServiceCredentialsRejected):
        await users.list()


async def test_password_change_that_never_happened_falls_back_to_the_old_one() -> None:
    workers = Accounts()
    tenant, users = clients(workers)
    workers.refuse = DeadlineExceeded
    with pytest.raises(DeadlineExceeded):
        await tenant.update("old password", password="new password")
    workers.token += "ended"
    await users.list()
    workers.token += "ended"
    await users.list()
    assert workers.tried == ["new password", "old password", "old password"]


@pytest.mark.parametrize("last", [Overloaded, Throttled, InvalidCredentials])
async def test_password_change_with_a_refused_retry_tries_the_new_password(last: type[AuthError]) -> None:
    """The first attempt may have succeeded before its worker died."""
    workers = Accounts()
    tenant, users = clients(workers)
    workers.lost, workers.then = Unavailable, last
    with pytest.raises(last):
        await tenant.update("old password", password="new password")
    assert workers.password == "new password"
    workers.then = None
    await users.list()
    assert workers.tried[-1] == "new password"


async def test_refused_password_change_keeps_the_old_password() -> None:
    workers = Accounts()
    tenant, users = clients(workers)
    workers.refuse = InvalidCredentials
    with pytest.raises(InvalidCredentials):
        await tenant.update("wrong password", password="new password")
    workers.token += "ended"
    await users.list()
    assert workers.tried == ["old password"]


async def test_client_with_only_a_token_continues_with_the_new_token() -> None:
    """It has no password to log in with, and stores none."""
    workers = Accounts()
    tenant, users = clients(workers, email=None)
    await tenant.update("old password", password="new password")
    await users.list()
    workers.token += "ended"
    with pytest.raises(ServiceCredentialsRejected):
        await users.list()
    assert not workers.tried


def test_operations_of_the_tenant_session_are_repeatable() -> None:
    assert TENANT_LOGIN.repeatable
    assert TENANT_VERIFY.repeatable
