"""Dependencies of routes: the workers, the verifier, the streams, and values from headers and path.

All are `async` although none awaits: FastAPI runs other dependencies in a thread pool. Two such
trips cost as much as the edge's other work for one verification.
"""

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, TypedDict
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Header, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BeforeValidator, SecretStr
from starlette.requests import HTTPConnection

from api.errors import MissingTenantToken
from api.metrics import EdgeMetrics
from api.readiness import SharedReadiness
from api.streams import Streams
from api.verifying import CheckVerifier
from api.workers import WorkerCalls
from shared.client.feed_port import Feed
from shared.client.tenant_session import TenantSession
from shared.contracts.wire import Name


class State(TypedDict):
    """Objects that live as long as the application; its lifespan makes them."""

    workers: WorkerCalls
    verifier: CheckVerifier
    forward_tenant: TenantSession
    feed: Feed
    streams: Streams
    readiness: SharedReadiness
    introspection_exp: bool
    """Whether introspection answers with `exp`."""
    metrics: EdgeMetrics
    """The server counts the requests that it refuses before the application sees them."""
    leaving: asyncio.Event
    """Set when this process begins to stop."""


def from_state(name: str) -> Any:
    """Return a dependency that returns this member of the application's `State`."""

    async def member(request: Request) -> Any:
        return getattr(request.state, name)

    return Depends(member)


class OnlyBearer(HTTPBearer):
    """Reads the Bearer token of a request that has exactly one `Authorization` header.

    Several headers count as none: a proxy or an application may have read another one than this edge.
    """

    async def __call__(self, request: HTTPConnection) -> HTTPAuthorizationCredentials | None:
        return await super().__call__(request) if len(request.headers.getlist("authorization")) == 1 else None


_bearer = OnlyBearer(
    scheme_name="tenantToken",
    bearerFormat="JWT",
    description="The token of a tenant, from `POST /tenant` or `POST /tenant/login`.",
    auto_error=False,
)

BearerCredentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def _tenant_token(credentials: BearerCredentials) -> str:
    """Return the tenant token as received; the worker verifies it. Raises `MissingTenantToken`."""
    if credentials is None:
        raise MissingTenantToken
    return credentials.credentials


async def _optional_tenant_token(credentials: BearerCredentials) -> str | None:
    """Return the tenant token if there is one, for routes that accept other proof too."""
    return credentials.credentials if credentials else None


async def _source_address(request: Request) -> IPv4Address | IPv6Address | None:
    """Return the client's IP address, or None if it has none: a Unix socket, or a proxy that hides it."""
    try:
        return ip_address(request.client.host) if request.client else None
    except ValueError:
        return None


def _decoded(segment: str) -> str:
    """Percent-decode a path segment that `EncodedPath` left encoded."""
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise ValueError("must be percent-encoded UTF-8") from None


Workers = Annotated[WorkerCalls, from_state("workers")]
EdgeVerifier = Annotated[CheckVerifier, from_state("verifier")]
ForwardTenant = Annotated[TenantSession, from_state("forward_tenant")]
EdgeFeed = Annotated[Feed, from_state("feed")]
OpenStreams = Annotated[Streams, from_state("streams")]
Readiness = Annotated[SharedReadiness, from_state("readiness")]
IntrospectionExp = Annotated[bool, from_state("introspection_exp")]
Leaving = Annotated[asyncio.Event, from_state("leaving")]
TenantToken = Annotated[str, Depends(_tenant_token)]
OptionalTenantToken = Annotated[str | None, Depends(_optional_tenant_token)]
SourceAddress = Annotated[IPv4Address | IPv6Address | None, Depends(_source_address)]
RegistrationKey = Annotated[
    SecretStr | None,
    Header(
        alias="X-Registration-Key", description="Permits registering, disabling or deleting a tenant from any network."
    ),
]
RequiredRegistrationKey = Annotated[
    SecretStr, Header(alias="X-Registration-Key", description="The operator's key. It is valid for every tenant.")
]
PathName = Annotated[Name, BeforeValidator(_decoded), Path(description="Percent-encoded, `/` included.")]
