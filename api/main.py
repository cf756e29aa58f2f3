"""The edge put together: settings in, application out."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from api.browsers import SafeHeaders, cross_origin
from api.dependencies import State
from api.errors import answer_error
from api.metrics import EdgeMetrics
from api.middleware import EncodedPath, RequestContext, UnexpectedErrors
from api.openapi import DocumentedApi
from api.readiness import SharedReadiness
from api.request_limit import request_limit
from api.routes import audit, auth, events, forward, health, session, tenant, token, user
from api.settings import Settings
from api.streams import Streams
from api.verifying import RememberingVerifier, Verifies
from api.workers import WorkerCalls
from shared.amqp.feed import RevocationFeed
from shared.amqp.rpc_client import RpcClient
from shared.amqp.verification_batcher import VerificationBatcher
from shared.client.tenant_session import RetryingRpcClient, TenantSession
from shared.contracts.errors import AuthError
from shared.process.background import background_task
from shared.process.loop_lag import watch_loop

if TYPE_CHECKING:  # it is there only where traces are wanted
    from api.tracing import EdgeTracing

API_VERSION = "2.0.0"
#: What the broker's permissions for edges go by: their queues begin with `sub.edge.`
SUBSCRIBER = "edge"
DESCRIPTION = """
Multi-tenant authentication. A **tenant** is a service or a product: it registers, and with its token it manages and
authenticates its own **users**. Every login is a **session**; ending the session ends its token, at once.

Errors are problem documents (RFC 9457): `code` is what programs should look at. Every answer carries the
`X-Request-ID` that came with the request, or a new one. So it is with what is refused before it is read, 400 for broken
HTTP and 431 for path and headers beyond 64 KiB; then the connection is closed. `Upgrade` and trailers are ignored.
"""
TAGS = [
    {"name": "Tenants", "description": "Registration of a tenant, and its token."},
    {"name": "Users", "description": "A tenant's users."},
    {"name": "Tokens", "description": "Login, verification and logout of a user."},
    {"name": "Sessions", "description": "Where a user is logged in, and ending that."},
    {"name": "Audit", "description": "What was done with a tenant's accounts, and tried."},
    {"name": "Events", "description": "Sessions that end before their time, told as it happens."},
    {"name": "Health", "description": "For probes and load balancers."},
]


def new_streams(settings: Settings) -> Streams:
    """What holds the event streams of an edge with these settings."""
    return Streams(settings.event_streams, settings.event_streams_per_tenant, settings.event_heartbeat_seconds)


def create_app(
    settings: Settings,
    rpc: RpcClient | None = None,
    feed: RevocationFeed | None = None,
    *,
    streams: Streams | None = None,
    leaving: asyncio.Event | None = None,
    metrics: EdgeMetrics | None = None,
    tracing: "EdgeTracing | None" = None,
) -> FastAPI:
    """The application. It serves without a broker too, and answers 503 until there is one.

    Tests give their `rpc` and `feed`; who has to end the event streams before the application is told to stop gives
    them as `streams`, and says with `leaving` that it is not ready any more.
    """
    open_streams = streams or new_streams(settings)
    counted = metrics or EdgeMetrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        urls = [url.get_secret_value() for url in settings.amqp_url]
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
            verifier: Verifies = VerificationBatcher(
                client, timeout_seconds=settings.reply_timeout_seconds, tracing=tracing
            )
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
                    RememberingVerifier(verifier, make_feed, max_age_seconds=settings.verify_cache_seconds)
                )
            counted.watch(
                streams=lambda: open_streams.count,
                connected=lambda: client.connected.is_set() and not client.blocked,
                feed_alive=lambda: revocations.alive,
                cache=remembering.counts if remembering else None,
            )
            await stack.enter_async_context(background_task(watch_loop(counted.loop_was_late)))
            await client.wait_connected()  # to answer the first request, too; not for ever
            workers = WorkerCalls(client, settings.reply_timeout_seconds, tracing)
            yield State(
                workers=workers,
                verifier=verifier,
                forward_tenant=TenantSession(
                    RetryingRpcClient(client, settings.reply_timeout_seconds),
                    settings.forward_email,
                    settings.forward_password,
                ),
                feed=revocations,
                streams=open_streams,
                readiness=SharedReadiness(workers),
                metrics=counted,
                leaving=leaving or asyncio.Event(),
            )

    app = DocumentedApi(
        title="Jincor Auth",
        version=API_VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url="/docs" if settings.docs else None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
        separate_input_output_schemas=False,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers=dict.fromkeys((AuthError, RequestValidationError, HTTPException), answer_error),
        middleware=[
            Middleware(RequestContext, metrics=counted, verify_sample=settings.log_verify_sample),
            *([tracing.middleware()] if tracing else []),
            Middleware(SafeHeaders),
            *cross_origin(settings.cors_origins),
            Middleware(UnexpectedErrors),
            *request_limit(settings.request_limit, settings.request_limit_seconds, settings.request_limit_exempt),
            Middleware(EncodedPath),
        ],
    )
    # A request is held against all routes before its own, so verifications come first.
    for routes in (auth, tenant, user, session, token, events, audit, health):
        app.include_router(routes.router)
    if settings.forward_email is not None:
        app.include_router(forward.router)
    return app
