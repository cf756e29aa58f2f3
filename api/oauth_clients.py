"""OAuth 2.0 client authentication (RFC 6749, 2.3) at `/oauth/token`, `/introspect` and `/revoke`.

The client secret is a credential: an API key, whose id is the client id, or any other credential of a tenant.
"""

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import unquote_plus

from fastapi import Depends, Form, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import Field

from api.dependencies import BearerCredentials, Caller, caller_of
from api.errors import MissingTenantToken, UnsupportedGrantType
from shared.contracts.api_key import api_key_id
from shared.contracts.errors import FieldProblem, InvalidRequest, InvalidTenantToken
from shared.contracts.wire import Token, WireModel

CLIENT_CREDENTIALS = "client_credentials"
#: Names of these methods in server metadata (RFC 8414, 2).
AUTHENTICATION_METHODS = ("client_secret_basic", "client_secret_post")

_basic = HTTPBasic(
    scheme_name="clientSecret",
    description=(
        "OAuth 2.0 client authentication (RFC 6749, 2.3.1): the id of an API key as the user name, with the whole key"
        " as the password; or any user name, with a tenant token as the password. Or send both as `client_id` and"
        " `client_secret` in the form."
    ),
    auto_error=False,
)


class ClientForm(WireModel):
    """The client credentials of RFC 6749, 2.3.1, in a form."""

    client_id: str | None = Field(None, alias="client_id")
    """The id of the API key. Ignored if the secret is a token, which names its tenant."""
    client_secret: str | None = Field(None, alias="client_secret", repr=False)
    """The API key or the tenant token, if the `Authorization` header does not carry it."""


class TokenForm(ClientForm):
    """Form of RFC 7662, 2.1 and RFC 7009, 2.1."""

    token: Token
    token_type_hint: str | None = Field(None, alias="token_type_hint")
    """Ignored: user tokens are the only kind."""


class GrantForm(ClientForm):
    """Form of RFC 6749, 4.4.2."""

    grant_type: str = Field(alias="grant_type", min_length=1)
    """`client_credentials`, the only supported grant."""
    scope: str | None = None
    """Names of permissions of the API key, separated by single spaces. Absent: all permissions of the key."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A client's request about a user's token. The worker verifies both credential and token."""

    caller: Caller = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """A client's request for an access token. The worker verifies the credential."""

    caller: Caller = field(repr=False)
    scope: str | None


BasicCredentials = Annotated[HTTPBasicCredentials | None, Depends(_basic)]


async def _token_request(
    request: Request, form: Annotated[TokenForm, Form()], bearer: BearerCredentials, basic: BasicCredentials
) -> TokenRequest:
    """Return the request. Raises what `_client` raises."""
    return TokenRequest(await _client(request, form, bearer, basic), form.token)


async def _grant_request(
    request: Request, form: Annotated[GrantForm, Form()], bearer: BearerCredentials, basic: BasicCredentials
) -> GrantRequest:
    """Return the request. Raises `UnsupportedGrantType`, and what `_client` raises."""
    client = await _client(request, form, bearer, basic)
    if form.grant_type != CLIENT_CREDENTIALS:
        raise UnsupportedGrantType
    return GrantRequest(client, form.scope or None)


async def _client(
    request: Request, form: ClientForm, bearer: BearerCredentials, basic: HTTPBasicCredentials | None
) -> Caller:
    """Return the client. Raises `MissingTenantToken`, `InvalidTenantToken` and `InvalidRequest`.

    A value that is sent twice is refused: gateway and edge might read different ones (RFC 6749, 3.2).
    """
    sent = await request.form()
    repeated = [name for name in type(form).model_fields if len(sent.getlist(name)) > 1]
    if len(request.headers.getlist("authorization")) > 1:
        repeated.append("Authorization")
    if repeated:
        raise InvalidRequest(problems=[FieldProblem(field=name, message="must be given once") for name in repeated])
    ids = {form.client_id} if form.client_id else set()
    secrets = {form.client_secret} if form.client_secret else set()
    if bearer is not None:
        secrets.add(bearer.credentials)
    if basic is not None:
        # A client encodes user name and password as in a form first (RFC 6749, 2.3.1). A credential that it did
        # not encode stays as it is: JWTs, API keys and their ids have neither `%` nor `+`.
        ids.add(unquote_plus(basic.username))
        secrets.add(unquote_plus(basic.password))
    secret = _only(secrets)
    key_id = api_key_id(secret)
    if key_id is not None and ids - {key_id}:
        raise InvalidTenantToken("client_id must be the id of the API key")
    return caller_of(request, secret)


def _only(secrets: set[str]) -> str:
    """Return the client's secret. Some clients send it in header and form, such as lua-resty-openidc."""
    if len(secrets) > 1:
        expected = "must equal the secret in the Authorization header, or be absent"
        raise InvalidRequest(problems=[FieldProblem(field="client_secret", message=expected)])
    for secret in secrets:
        if not secret:
            raise InvalidTenantToken
        return secret
    raise MissingTenantToken("client credentials are required: Basic, or client_id and client_secret in the form")


SentTokenRequest = Annotated[TokenRequest, Depends(_token_request)]
SentGrantRequest = Annotated[GrantRequest, Depends(_grant_request)]
