"""Composition of the edge: makes the application from its settings."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from api.browsers import cross_origin
from api.dependencies import State
from api.errors import answer_error
from api.limits.requests import request_limit
from api.metrics import EdgeMetrics
from api.middleware import EncodedPath, HeadAsGet, RequestContext, UnexpectedErrors
from api.openapi import DocumentedApi
from api.plain import PlainVerifications
from api.readiness import SharedReadiness
from api.routes import (
    audit,
    auth,
    docs,
    events,
    forward,
    health,
    key,
    oauth_metadata,
    oauth_token,
    operator,
    principal,
    search,
    session,
    tenant,
    tenant_settings,
    tenants,
    token,
    user,
)
from api.settings import Settings
from api.streams import Streams
from api.verifying import CheckVerifier, EdgeVerificationCache
from api.workers import WorkerCalls
from shared.amqp.feed import RevocationFeed
from shared.amqp.rpc_client import RpcClient
from shared.amqp.rpc_port import RpcConnection
from shared.amqp.verification_batcher import VerificationBatcher
from shared.client.feed_port import Feed
from shared.client.retries import RetryingRpcClient
from shared.client.tenant_session import TenantSession
from shared.contracts.errors import AuthError
from shared.process.background import background_task
from shared.process.loop_lag import watch_loop

if TYPE_CHECKING:  # installed only with tracing
    from api.tracing import EdgeTracing

API_VERSION = "2.0.0"
#: Subscriber name of edges. The broker's permissions let edges use queues that begin with `sub.edge.`
SUBSCRIBER = "edge"
DESCRIPTION = """
Multi-tenant authentication. A **tenant** is a service or a product. It registers, and manages and authenticates its own
**users** with its tenant token. Every login opens a **session**. Revoking the session invalidates its token at once.

Errors are problem documents (RFC 9457); programs should read `code`. Every response carries the `X-Request-ID` of the
request, or a new one. Broken HTTP gets 400, and path and headers above 64 KiB get 431. These two carry a new
`X-Request-ID` and close the connection. `Upgrade` and trailers are ignored.
"""
TAGS = [
    {"name": "Tenants", "description": "Register, update, disable and delete tenants, and manage their tokens."},
    {"name": "Users", "description": "Manage the users of a tenant."},
    {"name": "Tokens", "description": "Log users in and out, and verify their tokens."},
    {"name": "Sessions", "description": "List and revoke the sessions of a user."},
    {"name": "Audit", "description": "Read the audit trail of a tenant."},
    {"name": "Credentials", "description": "Manage API keys, and see who a credential stands for and what it allows."},
    {"name": "Events", "description": "Receive the revocations of a tenant's sessions as they happen."},
    {"name": "Operators", "description": "Log operators of this installation in, and manage them and all tenants."},
    {"name": "Health", "description": "Probes for load balancers and orchestrators."},
]


def new_streams(settings: Settings) -> Streams:
    """Return the registry of event streams for these settings."""
    return Streams(settings.event_streams, settings.event_streams_per_tenant, settings.event_heartbeat_seconds)


def create_app(
    settings: Settings,
    rpc: RpcConnection | None = None,
    feed: Feed | None = None,
    *,
    streams: Streams | None = None,
    leaving: asyncio.Event | None = None,
    metrics: EdgeMetrics | None = None,
    tracing: "EdgeTracing | None" = None,
    plain_path: bool = True,
) -> FastAPI:
    """Return the application. It starts without a broker, and answers 503 until it is connected.

    Tests pass `rpc` and `feed`, and compare with an edge that has no plain path. The server passes `streams`, to end
    them before it stops the application, and `leaving`, which it sets when the edge is no longer ready.
    """
    open_streams = streams or new_streams(settings)
    counted = metrics or EdgeMetrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        urls = settings.broker_urls
        client = rpc or RpcClient(urls, "api", declare=settings.declare_topology, tracing=tracing)
        revocations = feed or RevocationFeed(
            urls,
            "api events",
            on_revoked=open_streams.deliver,
            on_interrupted=open_streams.interrupt,
            subscriber=SUBSCRIBER,
            declare=settings.declare_topology,
        )
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(client)
            await stack.enter_async_context(revocations)
            batcher = VerificationBatcher(client, timeout_seconds=settings.reply_timeout_seconds, tracing=tracing)
            verifier: CheckVerifier = batcher
            remembering = None
            if settings.verify_cache_seconds:
                make_feed = functools.partial(
                    RevocationFeed,
                    urls,
                    "api verifications",
                    subscriber=SUBSCRIBER,
                    declare=settings.declare_topology,
                )
                verifier = remembering = await stack.enter_async_context(
                    EdgeVerificationCache(batcher, make_feed, max_age_seconds=settings.verify_cache_seconds)
                )
            counted.watch(
                streams=lambda: open_streams.count,
                connected=lambda: client.connected.is_set() and not client.blocked,
                feed_alive=lambda: revocations.alive,
                cache=remembering.counts if remembering else None,
            )
            await stack.enter_async_context(background_task(watch_loop(counted.loop_was_late)))
            await client.wait_connected()  # for a limited time, so that the first request succeeds
            workers = WorkerCalls(client, settings.reply_timeout_seconds, tracing)
            yield State(
                workers=workers,
                verifier=verifier,
                forward_tenant=TenantSession(
                    RetryingRpcClient(client, settings.reply_timeout_seconds),
                    settings.forward_email,
                    settings.forward_password,
                    api_key=settings.forward_api_key,
                ),
                feed=revocations,
                streams=open_streams,
                readiness=SharedReadiness(workers),
                introspection_exp=settings.introspection_exp,
                public_url=settings.public_url,
                metrics=counted,
                leaving=leaving or asyncio.Event(),
            )

    app = DocumentedApi(
        title="Jincor Auth",
        version=API_VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        servers=[{"url": "/"}],
        contact={"name": "The operator of this service"},
        license_info={"name": "MIT", "identifier": "MIT"},
        docs_url=None,  # FastAPI's page loads its scripts from the internet
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
        separate_input_output_schemas=False,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers=dict.fromkeys((AuthError, RequestValidationError, HTTPException), answer_error),
        middleware=[Middleware(UnexpectedErrors)],
    )
    app.surround(
        Middleware(RequestContext, metrics=counted, verify_sample=settings.log_verify_sample),
        *([tracing.middleware()] if tracing else []),
        *cross_origin(settings.cors_origins),
        *request_limit(settings.request_limit, settings.request_limit_seconds, settings.request_limit_exempt),
        Middleware(HeadAsGet),
        Middleware(EncodedPath),
        *([Middleware(PlainVerifications, with_forward=settings.forwards)] if plain_path else []),
    )
    # Routes are matched in order, so the most frequent ones, verifications, come first.
    for routes in (
        auth,
        tenant,
        user,
        session,
        token,
        events,
        audit,
        principal,
        key,
        oauth_token,
        operator,
        tenants,
        search,
        tenant_settings,
        health,
    ):
        app.include_router(routes.router)
    if settings.forwards:
        app.include_router(forward.router)
    if settings.public_url is not None:
        app.include_router(oauth_metadata.router)
    if settings.docs:
        app.include_router(docs.router)
    return app
