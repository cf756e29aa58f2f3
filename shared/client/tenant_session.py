"""Calls of a tenant, in a tenant session that renews itself, or with an API key."""

import asyncio
import contextlib
import copy
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import SecretStr

from ..contracts.api_key import api_key_id
from ..contracts.claims import Claims
from ..contracts.errors import (
    AuthError,
    Forbidden,
    InternalError,
    InvalidCredentials,
    InvalidRequest,
    InvalidTenantToken,
    InvalidToken,
    ServiceCredentialsRejected,
    Temporary,
    Throttled,
    Unavailable,
)
from ..contracts.operation import Operation, ReplyT, RequestT
from ..contracts.principal_get import PRINCIPAL_GET
from ..contracts.tenant_login import TENANT_LOGIN
from ..contracts.tenant_update import TenantUpdateReply
from ..contracts.tenant_verify import TENANT_VERIFY
from ..contracts.validation import validated
from .retries import RetryingRpcClient

log = logging.getLogger(__name__)

#: Time before rejected credentials are sent again. Calls of users and subscriptions arrive all the
#: time, and each login would cost a worker a password hash and count as a wrong password.
REJECTED_CREDENTIALS_SECONDS = 60.0
#: Candidate passwords to keep. Each wrong one costs a refused login when the session is renewed.
MAX_PASSWORDS = 8
#: Texts of `ServiceCredentialsRejected` for a client that cannot log in.
NO_CREDENTIALS = "this client has no tenant: connect with `email` and `password`, `tenant_token` or `api_key`"
TOKEN_REJECTED = "tenant token is rejected: connect with a new one, or with `email` and `password`"  # noqa: S105 - a text

KEY_REJECTED = (
    "API key is rejected: check that `api_key` is not revoked, expired or rotated, and that workers know keys"
)
NO_PASSWORD = "an API key cannot change, disable or delete its tenant: connect with `email` and `password`"  # noqa: S105 - a text

ResultT = TypeVar("ResultT")


class TenantSession:
    """The tenant's session: logs in at first use, and again when its token is refused.

    With an API key it neither logs in nor renews anything.
    """

    def __init__(
        self,
        rpc: RetryingRpcClient,
        email: str | None,
        password: SecretStr | None,
        token: str | None = None,
        *,
        api_key: SecretStr | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises `ValueError` for credentials that no tenant can have, an email without a password,
        or an API key beside other credentials."""
        _check_form(email, password, token, api_key)
        self._rpc = rpc
        self._email = email
        self._passwords: tuple[SecretStr, ...] = () if password is None else (password,)
        """Candidates for the tenant's password, the most likely first. There are several if a
        password change got no reply."""
        self._token = token
        self._api_key = api_key
        self._tenant: str | None = None
        self._monotonic = monotonic
        self._rejection: ServiceCredentialsRejected | None = None
        self._rejected_until = float("-inf")
        self._forbidden_logged: dict[str, float] = {}
        self._logging_in = asyncio.Lock()

    async def call(self, operation: Operation[RequestT, ReplyT], **fields: Any) -> ReplyT:
        """Send a request as this tenant and return the reply.

        Raises the errors of `run`, and `InvalidRequest` without sending.
        """
        return await self.run(
            lambda token: self._rpc.call(operation, validated(operation.request, tenant_token=token, **fields))
        )

    async def run(self, action: Callable[[str], Awaitable[ResultT]]) -> ResultT:
        """Run the action with a tenant token, and once more with a new one if the first is refused.

        With an API key, the action runs once with the key. Raises `ServiceCredentialsRejected` for
        wrong or missing credentials, `Unavailable` while the tenant's login is throttled, and the
        errors of the action. `Forbidden` is also logged, since the operator of the service has to
        solve it.
        """
        try:
            return await (self._run_as_tenant(action) if self._api_key is None else self._run(action, self._api_key))
        except Forbidden as error:
            self._log_forbidden(error)
            raise

    async def _run_as_tenant(self, action: Callable[[str], Awaitable[ResultT]]) -> ResultT:
        token = self._token or await self._renew(None)
        try:
            return await action(token)
        except InvalidTenantToken:
            token = await self._renew(token)
        with _new_token_accepted():
            return await action(token)

    async def _run(self, action: Callable[[str], Awaitable[ResultT]], api_key: SecretStr) -> ResultT:
        self._raise_recent_rejection()
        try:
            result = await action(api_key.get_secret_value())
        except InvalidTenantToken:
            raise self._rejected(ServiceCredentialsRejected(KEY_REJECTED)) from None
        except Throttled:
            if self._rejection is None:
                raise
            # Workers throttle wrong secrets of keys, so the rejected key is still wrong.
            raise self._rejected(copy.copy(self._rejection)) from None
        self._rejection = None
        return result

    async def check(self) -> None:
        """Check the credentials at a worker, if one answers.

        Raises `ServiceCredentialsRejected` and `InvalidRequest`.
        """
        try:
            await self.tenant()
        except (Temporary, InternalError) as error:
            log.warning("credentials of this service cannot be checked yet: %s", error, extra={"code": error.code})

    async def tenant(self) -> str:
        """Return the tenant's id; it is requested once. Raises the errors of `run`."""
        if self._tenant is None:
            if self._api_key is None:
                self._tenant = (await self.run(self._claims)).tenant
            else:
                self._tenant = (await self.call(PRINCIPAL_GET)).tenant
        return self._tenant

    @property
    def has_api_key(self) -> bool:
        """Whether the client connected with an API key."""
        return self._api_key is not None

    def check_has_password(self) -> None:
        """Raise `ServiceCredentialsRejected` if the client has an API key instead of the tenant's password."""
        if self._api_key is not None:
            raise ServiceCredentialsRejected(NO_PASSWORD)

    def begin(self, email: str, password: SecretStr, token: str) -> None:
        """Start as the session of this tenant, unless the session already has credentials, a token
        or an API key."""
        if self._email is None and self._token is None and self._api_key is None:
            self._email, self._passwords, self._token = email, (password,), token
            self._rejection = None

    async def replace(
        self, action: Callable[[str], Awaitable[TenantUpdateReply]], password: SecretStr | None
    ) -> TenantUpdateReply:
        """Run an action that replaces all sessions of the tenant, and use its new token.

        `password` is the tenant's new password, if the action changes it. Calls whose token is
        refused meanwhile wait for the new token. Raises the errors of `run`, and
        `ServiceCredentialsRejected` for a client with an API key.
        """
        self.check_has_password()
        async with self._logging_in:
            token = self._token or await self._log_in()
            try:
                return await self._replaced(action, token, password)
            except InvalidTenantToken:
                token = await self._log_in()
            with _new_token_accepted():
                return await self._replaced(action, token, password)

    async def _replaced(
        self, action: Callable[[str], Awaitable[TenantUpdateReply]], token: str, password: SecretStr | None
    ) -> TenantUpdateReply:
        before = self._passwords
        after = (password,) if password is not None and before else before
        # Set before sending: without a reply, either password may be valid.
        self._passwords = _first_of(after, before)
        try:
            reply = await action(token)
        except InvalidRequest:  # an earlier attempt would have been invalid, too
            self._passwords = before
            raise
        except (InvalidCredentials, InvalidTenantToken):  # an earlier attempt without a reply may have succeeded
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
        async with self._logging_in:  # many calls may need a new token at once; one login is enough
            if self._token is not None and self._token != refused:
                return self._token
            return await self._log_in()

    async def _log_in(self) -> str:
        """Log in and return a new token. The caller must hold `_logging_in`.

        Rejected credentials are sent again only after `REJECTED_CREDENTIALS_SECONDS`.
        """
        if self._email is None or not self._passwords:
            raise self._rejected(
                ServiceCredentialsRejected(TOKEN_REJECTED if self._token else NO_CREDENTIALS)
            ) from None
        self._raise_recent_rejection()
        for password in self._passwords:
            request = validated(TENANT_LOGIN.request, email=self._email, password=password)
            try:
                reply = await self._rpc.call(TENANT_LOGIN, request)
            except InvalidCredentials:
                continue
            except Throttled as error:
                # Not raised as it is: the tenant's login is throttled, not the operation of the
                # caller.
                log.warning("the tenant's login is throttled", extra={"retry_after_seconds": error.retry_after_seconds})
                raise Unavailable(retry_after_seconds=error.retry_after_seconds) from None
            except (Temporary, InternalError):
                raise
            except AuthError as error:  # whatever the reason, no user of the service is to blame
                rejection = ServiceCredentialsRejected(
                    f"{ServiceCredentialsRejected.text} ({error})", details=error.details
                )
                rejection.code = error.code
                raise self._rejected(rejection) from None
            self._token, self._passwords = reply.token, (password,)
            return reply.token
        self._token = None
        raise self._rejected(ServiceCredentialsRejected()) from None

    def _raise_recent_rejection(self) -> None:
        if self._rejection is not None and self._monotonic() < self._rejected_until:
            raise copy.copy(self._rejection) from None

    def _log_forbidden(self, error: Forbidden) -> None:
        """Log what the credential of this service does not allow, each reason once a minute."""
        permission, now = error.details.get("permission"), self._monotonic()
        reason = str(permission or error)
        if now < self._forbidden_logged.get(reason, float("-inf")):
            return
        self._forbidden_logged[reason] = now + REJECTED_CREDENTIALS_SECONDS
        log.error(
            "credential of this service is not sufficient: %s",
            error,
            extra={"code": error.code, "permission": permission},
        )

    def _rejected(self, rejection: ServiceCredentialsRejected) -> ServiceCredentialsRejected:
        """Remember and return the error, and log it unless it was logged a short time ago."""
        if self._monotonic() >= self._rejected_until:
            log.error("%s", rejection, extra={"code": rejection.code})
            self._rejected_until = self._monotonic() + REJECTED_CREDENTIALS_SECONDS
        self._rejection = rejection
        return rejection


@contextlib.contextmanager
def _new_token_accepted() -> Iterator[None]:
    """Convert the refusal of a token that the login has just returned."""
    try:
        yield
    except InvalidTenantToken:
        raise ServiceCredentialsRejected("tenant token of a new login is rejected") from None


def _check_form(email: str | None, password: SecretStr | None, token: str | None, api_key: SecretStr | None) -> None:
    if api_key is not None:
        if (email, password, token) != (None, None, None):
            raise ValueError("`api_key` must be the only credential: give no `email`, `password` or `tenant_token`")
        if api_key_id(api_key.get_secret_value()) is None:
            raise ValueError("`api_key` must be an API key: `jak_` and 71 letters and digits that match their checksum")
    if (email is None) != (password is None):
        raise ValueError(f"{'email' if email is None else 'password'} is missing: give both `email` and `password`")
    try:
        if email is not None:
            validated(TENANT_LOGIN.request, email=email, password=password)
        if token is not None:
            validated(TENANT_VERIFY.request, token=token)
    except InvalidRequest as error:
        problems = "; ".join(f"{problem.field}: {problem.message}" for problem in error.problems)
        raise ValueError(f"credentials of this service are not valid: {problems}") from None


def _first_of(likely: Sequence[SecretStr], other: Sequence[SecretStr]) -> tuple[SecretStr, ...]:
    return tuple(dict.fromkeys((*likely, *other)))[:MAX_PASSWORDS]
