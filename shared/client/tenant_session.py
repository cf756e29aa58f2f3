"""Calls as a tenant makes them: repeated where that is safe, with a session that renews itself."""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pydantic import SecretStr

from ..amqp.rpc_client import RpcClient
from ..contracts.claims import Claims
from ..contracts.errors import (
    AuthError,
    InvalidCredentials,
    InvalidRequest,
    InvalidTenantToken,
    InvalidToken,
    Overloaded,
    Throttled,
    Unavailable,
)
from ..contracts.operation import Operation
from ..contracts.tenant_login import TENANT_LOGIN
from ..contracts.tenant_update import TenantUpdateReply
from ..contracts.tenant_verify import TENANT_VERIFY
from ..contracts.validation import validated
from ..contracts.wire import WireModel

log = logging.getLogger(__name__)

#: Subscriptions are tried again each second; credentials that were refused are not, before this time has passed: each
#: attempt would cost the workers a password hash.
REJECTED_CREDENTIALS_SECONDS = 60.0
#: Waits before a repeated call, with jitter: together less than a person notices.
RETRY_WAITS_SECONDS = (0.05, 0.2, 0.5)
#: Of the passwords that may be the tenant's. Each that is not costs a refused login when the session is renewed.
MAX_PASSWORDS = 8

RequestT = TypeVar("RequestT", bound=WireModel)
ReplyT = TypeVar("ReplyT", bound=WireModel)
ResultT = TypeVar("ResultT")


class RetryingRpcClient:
    """Calls that wait out a moment without broker or worker, where it is safe to send them again."""

    def __init__(self, rpc: RpcClient, timeout_seconds: float) -> None:
        self._rpc = rpc
        self.timeout_seconds = timeout_seconds

    async def call(self, operation: Operation[RequestT, ReplyT], request: RequestT) -> ReplyT:
        """The reply. All attempts share one deadline and one message id. Raises an `AuthError`."""
        message_id = uuid.uuid4().hex
        deadline = time.monotonic() + self.timeout_seconds

        async def attempt() -> ReplyT:
            left = max(deadline - time.monotonic(), 0.001)
            return await self._rpc.call(operation, request, message_id=message_id, timeout_seconds=left)

        return await with_retries(attempt, repeatable=operation.repeatable)


class TenantSession:
    """The tenant's own session: logs in when first needed, and again when its token is refused."""

    def __init__(
        self, rpc: RetryingRpcClient, email: str | None, password: SecretStr | None, token: str | None = None
    ) -> None:
        self._rpc = rpc
        self._email = email
        self._passwords: tuple[SecretStr, ...] = () if password is None else (password,)
        """Those that may be the tenant's, the likeliest first: several, while nobody knows whether it has been
        changed."""
        self._token = token
        self._tenant: str | None = None
        self._refused: tuple[float, AuthError] | None = None
        self._logging_in = asyncio.Lock()

    async def call(self, operation: Operation[RequestT, ReplyT], **fields: Any) -> ReplyT:
        """The reply to a request made as this tenant. Raises what `run` raises, and `InvalidRequest` at once."""
        return await self.run(
            lambda token: self._rpc.call(operation, validated(operation.request, tenant_token=token, **fields))
        )

    async def run(self, action: Callable[[str], Awaitable[ResultT]]) -> ResultT:
        """What the action does with a tenant token; once more with a new one if the first is refused.

        Raises `InvalidTenantToken` when there is none and no credentials to get one, `InvalidCredentials` when they
        are wrong.
        """
        token = self._token or await self._renew(None)
        try:
            return await action(token)
        except InvalidTenantToken:
            return await action(await self._renew(token))

    async def tenant(self) -> str:
        """The tenant's id; it is asked for once. Raises what `run` raises; a refusal, again for a while."""
        if self._refused and time.monotonic() < self._refused[0]:
            raise self._refused[1]
        if self._tenant is None:
            try:
                self._tenant = (await self.run(self._claims)).tenant
            except (InvalidCredentials, InvalidTenantToken) as error:
                self._refused = time.monotonic() + REJECTED_CREDENTIALS_SECONDS, error
                raise
        return self._tenant

    def begin(self, email: str, password: SecretStr, token: str) -> None:
        """Becomes the session of this tenant. One that is a tenant's already stays what it is."""
        if self._email is None and self._token is None:
            self._email, self._passwords, self._token, self._refused = email, (password,), token, None

    async def replace(
        self, action: Callable[[str], Awaitable[TenantUpdateReply]], password: SecretStr | None
    ) -> TenantUpdateReply:
        """What the action answers, which ends this session with all others of the tenant, and opens another.

        With `password`, that is the tenant's from then on. Whoever finds the session ended waits for the other one.
        Raises what `run` raises.
        """
        async with self._logging_in:
            token = self._token or await self._log_in()
            try:
                return await self._replaced(action, token, password)
            except InvalidTenantToken:
                return await self._replaced(action, await self._log_in(), password)

    async def _replaced(
        self, action: Callable[[str], Awaitable[TenantUpdateReply]], token: str, password: SecretStr | None
    ) -> TenantUpdateReply:
        before = self._passwords
        after = (password,) if password is not None and before else before
        # Before it is sent: without an answer, and if nobody waits for one any more, either may be right.
        self._passwords = _first_of(after, before)
        try:
            reply = await action(token)
        except InvalidRequest:  # and so would any attempt before it have been
            self._passwords = before
            raise
        except (InvalidCredentials, InvalidTenantToken):  # an attempt before this one may have been answered by nobody
            self._passwords = _first_of(before, after)
            raise
        self._token, self._passwords = reply.token, after
        return reply

    async def _claims(self, token: str) -> Claims:
        try:
            return (await self._rpc.call(TENANT_VERIFY, validated(TENANT_VERIFY.request, token=token))).decoded
        except InvalidToken:
            raise InvalidTenantToken from None

    async def _renew(self, refused: str | None) -> str:
        async with self._logging_in:  # many calls learn at once that the session is over; one login is enough
            if self._token is not None and self._token != refused:
                return self._token
            return await self._log_in()

    async def _log_in(self) -> str:
        """A new token, of which nobody else makes another meanwhile."""
        if self._email is None or not self._passwords:
            raise InvalidTenantToken
        for password in self._passwords:
            request = validated(TENANT_LOGIN.request, email=self._email, password=password)
            try:
                reply = await self._rpc.call(TENANT_LOGIN, request)
            except InvalidCredentials:
                continue
            except Throttled as error:  # not of what is asked for here: that may be a user's login
                log.warning("the tenant's login is throttled", extra={"retry_after_seconds": error.retry_after_seconds})
                raise Unavailable(retry_after_seconds=error.retry_after_seconds) from None
            self._token, self._passwords = reply.token, (password,)
            return reply.token
        raise InvalidCredentials


def _first_of(likely: Sequence[SecretStr], other: Sequence[SecretStr]) -> tuple[SecretStr, ...]:
    return tuple(dict.fromkeys((*likely, *other)))[:MAX_PASSWORDS]


async def with_retries(attempt: Callable[[], Awaitable[ResultT]], *, repeatable: bool) -> ResultT:
    """What the attempt answers, tried a few times over a moment where that is safe.

    An overloaded lane has refused the request, so it may always be sent again. After `Unavailable` nobody knows.
    """
    for wait_seconds in RETRY_WAITS_SECONDS:
        try:
            return await attempt()
        except Overloaded:
            pass
        except Unavailable:
            if not repeatable:
                raise
        await asyncio.sleep(wait_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
    return await attempt()
