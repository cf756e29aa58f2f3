"""OAuth 2.0 client authentication (RFC 6749, 2.3) at `/introspect` and `/revoke`: the tenant token is the secret."""

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import unquote_plus

from fastapi import Depends, Form, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import Field

from api.dependencies import BearerCredentials, Caller, caller_of
from api.errors import MissingTenantToken
from shared.contracts.errors import FieldProblem, InvalidRequest, InvalidTenantToken
from shared.contracts.wire import Token, WireModel

_basic = HTTPBasic(
    scheme_name="tenantTokenAsPassword",
    description=(
        "OAuth 2.0 client authentication (RFC 6749, 2.3.1): any user name, with the tenant token as the password."
        " Or send the tenant token as `client_secret` in the form."
    ),
    auto_error=False,
)


class TokenForm(WireModel):
    """Form of RFC 7662, 2.1 and RFC 7009, 2.1, with the client credentials of RFC 6749, 2.3.1."""

    token: Token
    token_type_hint: str | None = Field(None, alias="token_type_hint")
    """Ignored: user tokens are the only kind."""
    client_id: str | None = Field(None, alias="client_id")
    """Ignored: the tenant token names the tenant."""
    client_secret: str | None = Field(None, alias="client_secret", repr=False)
    """The tenant token, if the `Authorization` header does not carry it."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A client's request about a user's token. The worker verifies both tokens."""

    caller: Caller = field(repr=False)
    token: str = field(repr=False)


async def _token_request(
    request: Request,
    form: Annotated[TokenForm, Form()],
    bearer: BearerCredentials,
    basic: Annotated[HTTPBasicCredentials | None, Depends(_basic)],
) -> TokenRequest:
    """Return the request. Raises `MissingTenantToken`, `InvalidTenantToken` and `InvalidRequest`.

    A value that is sent twice is refused: gateway and edge might read different ones (RFC 6749, 3.2).
    """
    sent = await request.form()
    repeated = [name for name in TokenForm.model_fields if len(sent.getlist(name)) > 1]
    if len(request.headers.getlist("authorization")) > 1:
        repeated.append("Authorization")
    if repeated:
        raise InvalidRequest(problems=[FieldProblem(field=name, message="must be given once") for name in repeated])
    secrets = {form.client_secret} if form.client_secret else set()
    if bearer is not None:
        secrets.add(bearer.credentials)
    if basic is not None:
        # A client encodes user name and password as in a form first (RFC 6749, 2.3.1). A token that it did not
        # encode stays as it is, because a JWT has neither `%` nor `+`.
        secrets.add(unquote_plus(basic.password))
    return TokenRequest(caller_of(request, _only(secrets)), form.token)


def _only(secrets: set[str]) -> str:
    """Return the client's secret. Some clients send it in header and form, such as lua-resty-openidc."""
    if len(secrets) > 1:
        expected = "must equal the secret in the Authorization header, or be absent"
        raise InvalidRequest(problems=[FieldProblem(field="client_secret", message=expected)])
    for secret in secrets:
        if not secret:
            raise InvalidTenantToken
        return secret
    raise MissingTenantToken


SentTokenRequest = Annotated[TokenRequest, Depends(_token_request)]
