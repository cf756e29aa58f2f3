"""What routes ask for by type: the workers, the verifier, the streams, and what travels outside of the body.

All of it is `async`, without a need: FastAPI sends what is not through a pool of threads, and two such trips cost as
much as everything else that the edge does about a verification.
"""

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, TypedDict
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Header, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer
from pydantic import BeforeValidator, SecretStr

from api.errors import MissingTenantToken
from api.metrics import EdgeMetrics
from api.readiness import SharedReadiness
from api.streams import Streams
from api.verifying import Verifies
from api.workers import WorkerCalls
from shared.amqp.feed import RevocationFeed
from shared.client.tenant_session import TenantSession
from shared.contracts.errors import InvalidTenantToken
from shared.contracts.wire import Name


class State(TypedDict):
    """What lives as long as the application, made by its lifespan."""

    workers: WorkerCalls
    verifier: Verifies
    forward_tenant: TenantSession
    feed: RevocationFeed
    streams: Streams
    readiness: SharedReadiness
    metrics: EdgeMetrics
    """Where the server counts what it does not pass on."""
    leaving: asyncio.Event
    """Set when this process is about to stop."""


def from_state(name: str) -> Any:
    """Return a dependency that answers this member of the application's `State`.

    It is `async` so that FastAPI calls it on the event loop and not on a thread.
    """

    async def member(request: Request) -> Any:
        return getattr(request.state, name)

    return Depends(member)


_bearer = HTTPBearer(
    scheme_name="tenantToken",
    bearerFormat="JWT",
    description="The token of a tenant, from `POST /tenant` or `POST /tenant/login`.",
    auto_error=False,
)


_basic = HTTPBasic(
    scheme_name="tenantTokenAsPassword",
    description="For gateways that know no Bearer: any user name, and the tenant token as the password.",
    auto_error=False,
)


async def _tenant_token(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    """The token as it came: whether it is any good is for the worker to say."""
    if credentials is None:
        raise MissingTenantToken
    return credentials.credentials


async def _optional_tenant_token(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str | None:
    """The same, where there is another way to prove oneself."""
    return credentials.credentials if credentials else None


async def _gateway_token(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    basic: Annotated[HTTPBasicCredentials | None, Depends(_basic)],
) -> str:
    """A tenant token from a client of the OAuth 2.0 standards, which may know Basic credentials alone."""
    if basic is None:
        return await _tenant_token(bearer)
    if not basic.password:
        raise InvalidTenantToken
    return basic.password


async def _client_address(request: Request) -> IPv4Address | IPv6Address | None:
    """Who asks. None where that is no IP address: a Unix socket, or a proxy that hides it."""
    try:
        return ip_address(request.client.host) if request.client else None
    except ValueError:
        return None


def _decoded(segment: str) -> str:
    """A path segment as the text it stands for; `EncodedPath` left it encoded."""
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise ValueError("must be percent-encoded UTF-8") from None


Workers = Annotated[WorkerCalls, from_state("workers")]
Verifier = Annotated[Verifies, from_state("verifier")]
ForwardTenant = Annotated[TenantSession, from_state("forward_tenant")]
Feed = Annotated[RevocationFeed, from_state("feed")]
OpenStreams = Annotated[Streams, from_state("streams")]
Readiness = Annotated[SharedReadiness, from_state("readiness")]
Leaving = Annotated[asyncio.Event, from_state("leaving")]
TenantToken = Annotated[str, Depends(_tenant_token)]
OptionalTenantToken = Annotated[str | None, Depends(_optional_tenant_token)]
GatewayToken = Annotated[str, Depends(_gateway_token)]
ClientAddress = Annotated[IPv4Address | IPv6Address | None, Depends(_client_address)]
RegistrationKey = Annotated[
    SecretStr | None,
    Header(alias="X-Registration-Key", description="Lets its holder register a tenant, or end one, from anywhere."),
]
RequiredRegistrationKey = Annotated[
    SecretStr, Header(alias="X-Registration-Key", description="Whoever holds it decides about every tenant.")
]
PathName = Annotated[Name, BeforeValidator(_decoded), Path(description="Percent-encoded, `/` included.")]
