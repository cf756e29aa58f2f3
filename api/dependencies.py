"""Dependencies of routes: the workers, the verifier, the streams, and values from headers and path.

All are `async` although none awaits: FastAPI runs other dependencies in a thread pool. Two such
trips cost as much as the edge's other work for one verification.
"""

import asyncio
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, NotRequired, TypedDict
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
from shared.contracts.address import address_of
from shared.contracts.errors import FieldProblem, InvalidRequest
from shared.contracts.wire import Name

#: Header that names the tenant on which an operator acts.
ON_TENANT = "X-Tenant-ID"


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
    public_url: str | None
    """The URL at which clients reach the edges, if it is known."""
    metrics: EdgeMetrics
    """The server counts the requests that it refuses before the application sees them."""
    leaving: asyncio.Event
    """Set when this process begins to stop."""


def from_state(name: str) -> Any:
    """Return a dependency that returns this member of the application's `State`."""

    async def member(request: Request) -> Any:
        return getattr(request.state, name)

    return Depends(member)


class Caller(TypedDict):
    """The members of a `TenantRequest` that tell who sends it. The worker verifies the credential."""

    tenant_token: str
    caller_address: NotRequired[IPv4Address | IPv6Address]
    on_tenant: NotRequired[str]
    """The tenant that an operator acts on."""


class OperatorCaller(TypedDict):
    """The members of an `OperatorRequest`, of an operator and the tenant that it acts on."""

    tenant_token: str
    caller_address: NotRequired[IPv4Address | IPv6Address]
    on_tenant: str


class OnlyBearer(HTTPBearer):
    """Reads the Bearer token of a request that has exactly one `Authorization` header.

    Several headers count as none: a proxy or an application may have read another one than this edge.
    """

    async def __call__(self, request: HTTPConnection) -> HTTPAuthorizationCredentials | None:
        return await super().__call__(request) if len(request.headers.getlist("authorization")) == 1 else None


_bearer = OnlyBearer(
    scheme_name="tenantToken",
    bearerFormat="JWT",
    description="A tenant token, from `POST /tenant` or `POST /tenant/login`; an API key; or an access token.",
    auto_error=False,
)

BearerCredentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def source_address(request: HTTPConnection) -> IPv4Address | IPv6Address | None:
    """Return the client's IP address, or None if it has none: a Unix socket, or a proxy that hides it."""
    try:
        return address_of(request.client.host) if request.client else None
    except ValueError:
        return None


def caller_of(request: HTTPConnection, credential: str) -> Caller:
    """Return the caller of a request with this credential."""
    caller: Caller = {"tenant_token": credential}
    if address := source_address(request):
        caller["caller_address"] = address
    return caller


async def _caller(request: Request, credentials: BearerCredentials) -> Caller:
    """Return the credential as received, and the client's address. Raises `MissingTenantToken`."""
    if credentials is None:
        raise MissingTenantToken
    return caller_of(request, credentials.credentials)


async def _caller_on_tenant(
    request: Request,
    credentials: BearerCredentials,
    on_tenant: Annotated[
        Name | None,
        Header(alias=ON_TENANT, description="The id of the tenant to act on. Only operators need it."),
    ] = None,
) -> Caller:
    """Return the same, with the tenant that an operator acts on.

    Raises `MissingTenantToken`, and `InvalidRequest` if two tenants are named: a proxy may have checked the other one.
    """
    caller = await _caller(request, credentials)
    if len(request.headers.getlist(ON_TENANT)) > 1:
        raise InvalidRequest(problems=[FieldProblem(field=ON_TENANT, message="must be given once")])
    if on_tenant is not None:
        caller["on_tenant"] = on_tenant
    return caller


async def _operator_caller(caller: "Authenticated", tenant: "TenantId") -> OperatorCaller:
    """Return the caller with the tenant in the path. Raises `MissingTenantToken`."""
    operator: OperatorCaller = {"tenant_token": caller["tenant_token"], "on_tenant": tenant}
    if "caller_address" in caller:
        operator["caller_address"] = caller["caller_address"]
    return operator


async def _optional_tenant_token(credentials: BearerCredentials) -> str | None:
    """Return the tenant token if there is one, for routes that accept other proof too."""
    return credentials.credentials if credentials else None


async def _source_address(request: Request) -> IPv4Address | IPv6Address | None:
    return source_address(request)


def _decoded(segment: str) -> str:
    """Percent-decode a path segment that `EncodedPath` left encoded."""
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise ValueError("must be percent-encoded UTF-8") from None


TenantId = Annotated[Name, BeforeValidator(_decoded), Path(alias="id", description="The tenant's id.")]
Workers = Annotated[WorkerCalls, from_state("workers")]
EdgeVerifier = Annotated[CheckVerifier, from_state("verifier")]
ForwardTenant = Annotated[TenantSession, from_state("forward_tenant")]
EdgeFeed = Annotated[Feed, from_state("feed")]
OpenStreams = Annotated[Streams, from_state("streams")]
Readiness = Annotated[SharedReadiness, from_state("readiness")]
IntrospectionExp = Annotated[bool, from_state("introspection_exp")]
PublicUrl = Annotated[str, from_state("public_url")]
Leaving = Annotated[asyncio.Event, from_state("leaving")]
Authenticated = Annotated[Caller, Depends(_caller)]
AuthenticatedOnTenant = Annotated[Caller, Depends(_caller_on_tenant)]
OperatorOnTenant = Annotated[OperatorCaller, Depends(_operator_caller)]
OptionalTenantToken = Annotated[str | None, Depends(_optional_tenant_token)]
SourceAddress = Annotated[IPv4Address | IPv6Address | None, Depends(_source_address)]
RegistrationKey = Annotated[
    SecretStr | None,
    Header(
        alias="X-Registration-Key", description="Permits registering, disabling or deleting a tenant from any network."
    ),
]
RequiredRegistrationKey = Annotated[
    SecretStr, Header(alias="X-Registration-Key", description="The registration key. It is valid for every tenant.")
]
PathName = Annotated[Name, BeforeValidator(_decoded), Path(description="Percent-encoded, `/` included.")]
