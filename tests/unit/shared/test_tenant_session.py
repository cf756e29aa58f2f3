"""The tenant's own session: whose it is, and what happens when it is refused."""

import pytest
from pydantic import SecretStr

from shared import tenant_session
from shared.amqp.rpc_client import ReplyT, RequestT, RpcClient
from shared.contracts.errors import InvalidCredentials, InvalidToken, Throttled, Unavailable
from shared.contracts.operation import Operation
from shared.contracts.tenant_login import TENANT_LOGIN, TenantLoginRequest
from shared.contracts.tenant_verify import TENANT_VERIFY, TenantVerifyRequest
from shared.tenant_session import Calls, TenantSession
from tests.records import some_claims

PASSWORD = SecretStr("correct horse battery")


class Workers(RpcClient):
    """Log in whom they know, and count who tries. A token is the email that it was made for."""

    def __init__(self, *known: str) -> None:
        super().__init__([], "none")
        self.known = set(known)
        self.logins: list[str] = []
        self.throttle = False

    async def call(
        self,
        operation: Operation[RequestT, ReplyT],
        request: RequestT,
        *,
        request_id: str | None = None,  # noqa: ARG002 - the signature it stands in for
        message_id: str | None = None,  # noqa: ARG002 - the signature it stands in for
        timeout_seconds: float = 1,  # noqa: ARG002 - the signature it stands in for
    ) -> ReplyT:
        if isinstance(request, TenantLoginRequest):
            self.logins.append(request.email)
            if self.throttle:
                raise Throttled
            if request.email not in self.known:
                raise InvalidCredentials
            return operation.reply.model_validate({"token": request.email, "accessToken": request.email})
        assert isinstance(request, TenantVerifyRequest)
        if request.token not in self.known:
            raise InvalidToken
        return operation.reply.model_validate({"decoded": some_claims(tenant=request.token)})


def session(workers: Workers, email: str | None = None) -> TenantSession:
    return TenantSession(Calls(workers, 1), email, PASSWORD if email else None)


async def test_its_tenant_is_asked_for_once() -> None:
    workers = Workers("a@x.test")
    mine = session(workers, "a@x.test")
    assert [await mine.tenant() for _ in range(2)] == ["a@x.test"] * 2
    assert workers.logins == ["a@x.test"]


async def test_one_without_credentials_becomes_the_session_of_who_registers() -> None:
    """With its credentials, too: so it renews itself as that tenant."""
    workers = Workers("new@x.test")
    mine = session(workers)
    mine.begin("new@x.test", PASSWORD, "ended")
    assert await mine.tenant() == "new@x.test"
    assert workers.logins == ["new@x.test"]


async def test_one_that_is_a_tenants_stays_what_it_is() -> None:
    """Subscriptions and what is kept in memory are that tenant's."""
    mine = session(Workers("a@x.test", "new@x.test"), "a@x.test")
    mine.begin("new@x.test", PASSWORD, "new@x.test")
    assert await mine.tenant() == "a@x.test"


async def test_refused_credentials_are_not_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who subscribes tries each second, and each login costs the workers a password hash."""
    workers = Workers()
    mine = session(workers, "a@x.test")
    for _ in range(3):
        with pytest.raises(InvalidCredentials):
            await mine.tenant()
    assert len(workers.logins) == 1
    monkeypatch.setattr(tenant_session, "REFUSED_SECONDS", -1)
    again = session(workers, "a@x.test")
    for _ in range(2):
        with pytest.raises(InvalidCredentials):
            await again.tenant()
    assert len(workers.logins) == 3


async def test_a_throttled_login_is_nobodys_fault() -> None:
    """What was asked for may be a user's login, and that one is not throttled: it cannot be done at the moment."""
    workers = Workers("a@x.test")
    workers.throttle = True
    mine = session(workers, "a@x.test")
    with pytest.raises(Unavailable):
        await mine.tenant()
    workers.throttle = False
    assert await mine.tenant() == "a@x.test"


def test_the_operations_it_uses_may_be_repeated() -> None:
    assert TENANT_LOGIN.repeatable
    assert TENANT_VERIFY.repeatable
