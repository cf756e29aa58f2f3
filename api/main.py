"""The edge put together: settings in, application out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from api.dependencies import State, WorkerCalls
from api.errors import answer_error
from api.middleware import BodyLimit, EncodedPath, RequestContext, SafeHeaders, UnexpectedErrors
from api.openapi import DocumentedApi
from api.routes import auth, forward, health, session, tenant, token, user
from api.settings import Settings
from shared.amqp.rpc_client import RpcClient
from shared.amqp.verifier import CoalescingVerifier
from shared.contracts.errors import AuthError
from shared.tenant_session import Calls, TenantSession

API_VERSION = "2.0.0"
DESCRIPTION = """
Multi-tenant authentication. A **tenant** is a service or a product: it registers, and with its token it manages and
authenticates its own **users**. Every login is a **session**; ending the session ends its token, at once.

Errors are problem documents (RFC 9457): `code` is what programs should look at. Every answer carries the
`X-Request-ID` that came with the request, or a new one.
"""
TAGS = [
    {"name": "Tenants", "description": "Registration of a tenant, and its token."},
    {"name": "Users", "description": "A tenant's users."},
    {"name": "Tokens", "description": "Login, verification and logout of a user."},
    {"name": "Sessions", "description": "Where a user is logged in, and ending that."},
    {"name": "Health", "description": "For probes and load balancers."},
]


def create_app(settings: Settings, rpc: RpcClient | None = None) -> FastAPI:
    """The application. It serves without a broker too, and answers 503 until there is one; tests give their `rpc`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        urls = [url.get_secret_value() for url in settings.amqp_url]
        client = rpc or RpcClient(urls, "api", declare=settings.declare_topology)
        async with client:
            await client.wait_connected()  # to answer the first request, too; not for ever
            yield State(
                workers=WorkerCalls(client, settings.reply_timeout_seconds),
                verifier=CoalescingVerifier(client, timeout_seconds=settings.reply_timeout_seconds),
                forward_tenant=TenantSession(
                    Calls(client, settings.reply_timeout_seconds), settings.forward_email, settings.forward_password
                ),
            )

    app = DocumentedApi(
        title="Jincor Auth",
        version=API_VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        redoc_url=None,
        separate_input_output_schemas=False,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers=dict.fromkeys((AuthError, RequestValidationError, HTTPException), answer_error),
        middleware=[
            Middleware(RequestContext),
            Middleware(SafeHeaders),
            Middleware(UnexpectedErrors),
            Middleware(BodyLimit, max_body_bytes=settings.max_body_bytes),
            Middleware(EncodedPath),
        ],
    )
    for routes in (tenant, user, session, auth, token, health):
        app.include_router(routes.router)
    if settings.forward_email is not None:
        app.include_router(forward.router)
    return app
