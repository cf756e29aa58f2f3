"""What routes ask for by type: the workers, the verifier, the streams, and what travels outside of the body.

All of it is `async`, without a need: FastAPI sends what is not through a pool of threads, and two such trips cost as
much as everything else that the edge does about a verification.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Annotated, TypedDict
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Header, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer
from pydantic import BeforeValidator, SecretStr

from api.errors import MissingTenantToken
from api.metrics import EdgeMetrics
from api.readiness import SharedReadiness
from api.streams import Streams
from api.verifying import Verifies
from shared.amqp.feed import RevocationFeed
from shared.amqp.rpc_client import ReplyT, RequestT, RpcClient
from shared.client.tenant_session import TenantSession
from shared.contracts.errors import InvalidTenantToken
from shared.contracts.operation import Operation
from shared.contracts.wire import Name
from shared.process.logging import request_id

if TYPE_CHECKING:  # it is there only where traces are wanted
    from api.tracing import EdgeTracing


@dataclass(frozen=True, slots=True)
class WorkerCalls:
    """Calls to workers on behalf of the HTTP request at hand: its id goes with them."""

    rpc: RpcClient
    timeout_seconds: float
    tracing: "EdgeTracing | None" = None

    async def call(
        self, operation: Operation[RequestT, ReplyT], request: RequestT, *, timeout_seconds: float | None = None
    ) -> ReplyT:
        """The reply of a worker. Raises what `RpcClient.call` raises."""
        with self.tracing.sending(operation.name) if self.tracing else contextlib.nullcontext():
            return await self.rpc.call(
                operation,
                request,
                request_id=request_id.get(),
                timeout_seconds=timeout_seconds or self.timeout_seconds,
            )


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


async def _workers(request: Request) -> WorkerCalls:
    workers: WorkerCalls = request.state.workers
    return workers


async def _verifier(request: Request) -> Verifies:
    verifier: Verifies = request.state.verifier
    return verifier


async def _forward_tenant(request: Request) -> TenantSession:
    tenant: TenantSession = request.state.forward_tenant
    return tenant


async def _feed(request: Request) -> RevocationFeed:
    feed: RevocationFeed = request.state.feed
    return feed


async def _streams(request: Request) -> Streams:
    streams: Streams = request.state.streams
    return streams


async def _readiness(request: Request) -> SharedReadiness:
    readiness: SharedReadiness = request.state.readiness
    return readiness


async def _leaving(request: Request) -> bool:
    leaving: asyncio.Event = request.state.leaving
    return leaving.is_set()


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


Workers = Annotated[WorkerCalls, Depends(_workers)]
Verifier = Annotated[Verifies, Depends(_verifier)]
ForwardTenant = Annotated[TenantSession, Depends(_forward_tenant)]
Feed = Annotated[RevocationFeed, Depends(_feed)]
OpenStreams = Annotated[Streams, Depends(_streams)]
Readiness = Annotated[SharedReadiness, Depends(_readiness)]
Leaving = Annotated[bool, Depends(_leaving)]
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
