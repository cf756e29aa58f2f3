"""A web service without FastAPI: Starlette with the middleware. `/health` needs no token."""

import asyncio
import logging
import os

from jincor_auth_client.asgi import AuthMiddleware, ServiceAuth
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

auth = ServiceAuth(
    os.environ["AMQP_URL"], email=os.environ["AUTH_EMAIL"], password=os.environ["AUTH_PASSWORD"], name="plain"
)


async def health(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.auth.login)


async def ticks(socket: WebSocket) -> None:
    """Send ticks and receive nothing, so that only a failing send shows the end of the session."""
    await socket.accept()
    try:
        while True:
            await socket.send_text("tick")
            await asyncio.sleep(0.01)
    except WebSocketDisconnect:
        logging.getLogger("uvicorn").info("websocket disconnected")


app = Starlette(
    routes=[Route("/health", health), Route("/who", who), WebSocketRoute("/ticks", ticks)],
    lifespan=auth.lifespan,
    middleware=[Middleware(AuthMiddleware, verifier=auth, exclude=["/health"])],
)
