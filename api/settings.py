"""Settings of the edge from environment variables. docs/configuration.md is generated from their docstrings."""

import re
from ipaddress import ip_address
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    Field,
    FiniteFloat,
    IPvAnyNetwork,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_settings import NoDecode

from shared.contracts.api_key import api_key_id
from shared.contracts.wire import TenantEmail, TriedPassword
from shared.process.settings import CommaSeparated, Port, ProcessSettings

Origin = Annotated[str, StringConstraints(pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$")]
"""An origin as browsers send it (RFC 6454, 6.2): lower case, without a path."""

#: Unlike a password in a message, it prints as asterisks in JSON too.
HiddenPassword = Annotated[TriedPassword, PlainSerializer(str)]

#: Clients compare the URL as text (RFC 8414, 3.3), so it has one spelling.
PUBLIC_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*")

#: Settings that may be files instead: `<name>_FILE`.
SECRETS = ("AMQP_URL", "AUTH_FORWARD_API_KEY", "AUTH_FORWARD_PASSWORD")


def _api_key(key: SecretStr) -> SecretStr:
    if api_key_id(key.get_secret_value()) is None:
        raise ValueError("must be an API key: `jak_` and 71 letters and digits that match their checksum")
    return key


def _public_url(url: str) -> str:
    match = PUBLIC_URL.fullmatch(url)
    if match is None:
        raise ValueError("must be like https://auth.example, in lower case, without user, query, fragment or final `/`")
    if match["scheme"] == "http" and not _is_loopback(match["host"].strip("[]")):
        raise ValueError("must begin with https://; http:// is accepted only for localhost and loopback addresses")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(ProcessSettings):
    """Settings of the edge."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8000
    """Port to listen on."""
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, CommaSeparated] = ()
    """Addresses and networks whose `X-Forwarded-For` is trusted. None: the client address is that of the connection."""
    max_body_bytes: PositiveInt = 131_072
    """Larger bodies are refused with 413. The default is several times the largest valid body, which holds a
    token. Chunk sizes and trailers have a limit of their own: 64 KiB."""
    body_seconds: Annotated[FiniteFloat, Field(gt=0)] = 10.0
    """Time from the headers of a request to the end of its body and trailers; slower requests are refused with
    408. If the response comes earlier, the edge reads on for at most 5 seconds and closes the connection."""
    keep_alive_seconds: PositiveInt = 75
    """How long a connection may be idle between two requests. Set it higher than the idle timeout of clients and
    load balancers, usually 5 to 60 seconds. If the edge closes first, a request already on its way is lost."""
    request_limit: NonNegativeInt = 0
    """Requests that one address may make of one edge in a window; more are answered 429. 0: no limit. There is no
    general default, because most callers are services with many users behind one address."""
    request_limit_seconds: Annotated[FiniteFloat, Field(gt=0, le=3600)] = 1.0
    """Length of the window of `AUTH_REQUEST_LIMIT`."""
    request_limit_exempt: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, CommaSeparated] = ()
    """Addresses and networks whose requests `AUTH_REQUEST_LIMIT` does not count."""
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, CommaSeparated] = ()
    """Origins whose pages may call the edge from browsers, such as `https://app.example`. `*` is not accepted."""
    public_url: Annotated[str, AfterValidator(_public_url)] | None = None
    """URL at which clients reach the edges, such as `https://auth.example`: the `issuer` of
    `/.well-known/oauth-authorization-server` (RFC 8414), with which OAuth 2.0 clients find the endpoints. Unset: no
    such document. The `iss` of tokens stays `AUTH_ISSUER`: only this service reads it, and a change ends all tokens."""
    docs: bool = True
    """Whether the edge serves `/docs` and `/openapi.json`, and redirects `/` to `/docs`. The page needs no internet."""

    introspection_exp: bool = True
    """Whether `POST /introspect` answers with `exp`. `false` keeps some gateways from caching a token until its `exp`:
    see docs/gateways.md."""

    forward_api_key: Annotated[SecretStr, AfterValidator(_api_key)] | None = None
    """API key of the tenant whose users' tokens `/auth/forward` accepts, with the permission `tokens:verify` and
    without networks. Without it and without `AUTH_FORWARD_EMAIL` the route does not exist."""
    forward_email: TenantEmail | None = None
    """Email of that tenant, in place of an API key: the edge logs in with it and has all permissions of the tenant."""
    forward_password: HiddenPassword | None = None
    """Password of the tenant in `AUTH_FORWARD_EMAIL`."""

    event_streams: PositiveInt = 2_000
    """Maximum number of open event streams of one edge; more are answered 503, or told to reconnect later."""
    event_streams_per_tenant: PositiveInt = 500
    """Maximum number of open event streams of one tenant on one edge, so that others can open theirs."""
    event_heartbeat_seconds: Annotated[FiniteFloat, Field(gt=0)] = 15.0
    """Interval of heartbeats on an idle event stream. The HTML standard, 9.2.7, advises about 15 seconds: some
    proxies close silent connections after 30 seconds."""

    verify_cache_seconds: Annotated[FiniteFloat, Field(ge=0, le=3600)] = 0.0
    """Maximum age of a cached verification. 0: no cache, a worker verifies each token."""

    reply_timeout_seconds: Annotated[FiniteFloat, Field(gt=0, le=600)] = 5.0
    """How long a request waits for a worker's reply before the edge answers 504. Workers refuse deadlines more than
    ten minutes ahead."""
    drain_seconds: Annotated[FiniteFloat, Field(ge=0)] = 3.0
    """How long a stopping edge still serves while `/health/ready` answers 503. Set it to more than your load balancer
    needs to notice."""
    shutdown_grace_seconds: PositiveInt = 10
    """How long a stopping edge waits, after draining, for the requests in flight."""

    @model_validator(mode="after")
    def _whole_credentials(self) -> Self:
        if (self.forward_email is None) != (self.forward_password is None):
            raise ValueError("AUTH_FORWARD_EMAIL and AUTH_FORWARD_PASSWORD must be set together, or neither of them")
        if self.forward_api_key is not None and self.forward_email is not None:
            raise ValueError("AUTH_FORWARD_API_KEY and AUTH_FORWARD_EMAIL are both set; set one")
        return self

    @property
    def forwards(self) -> bool:
        """Whether the edge has the route `/auth/forward`."""
        return self.forward_api_key is not None or self.forward_email is not None
