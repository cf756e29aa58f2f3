"""`FastApiAuth`: dependencies for requests and WebSockets, and what the API's document says of them."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from shared.contracts.claims import Claims
from shared.contracts.errors import Unavailable
from shared.fastapi import FastApiAuth
from tests.records import some_claims
from tests.unit.client.asgi_connection import AsgiConnection
from tests.unit.client.fake_verifier import FakeVerifier

ANN = {"Authorization": "Bearer ann's"}
CHALLENGE = 'Bearer realm="jincor-auth"'


@pytest.fixture
def verifier() -> FakeVerifier:
    verifier = FakeVerifier()
    verifier.open("ann's", login="ann", scope={"notes": "read"})
    return verifier


@pytest.fixture
def auth(verifier: FakeVerifier) -> FastApiAuth:
    return FastApiAuth("amqp://broker.invalid", verifier=verifier)


@pytest.fixture
def app(auth: FastApiAuth) -> FastAPI:
    app = FastAPI(lifespan=auth.lifespan)
    current_user = Annotated[Claims, Depends(auth.authenticated)]
    reader = Annotated[Claims, Depends(auth.require("notes:read"))]
    writer = Annotated[Claims, Depends(auth.require("notes:read", "notes:write"))]
    live_socket = Annotated[WebSocket, Depends(auth.websocket("notes:read"))]

    @app.get("/me")
    async def me(user: current_user, request: Request) -> list[str]:
        return [user.login, request.auth.login]

    @app.get("/notes")
    async def notes(user: current_user, reader: reader) -> bool:
        return user is reader

    @app.put("/notes")
    async def write(user: writer) -> str:
        return user.login

    @app.websocket("/live")
    async def live(socket: live_socket, user: reader) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text(f"{user.login}: {await socket.receive_text()}")
        except WebSocketDisconnect as gone:
            socket.app.state.gone = (gone.code, gone.reason)

    @app.websocket("/who")
    async def who(socket: WebSocket, user: writer) -> None:
        await socket.accept()
        await socket.send_text(user.login)

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://notes") as client:
        yield client


async def test_a_dependency_says_whose_request_it_is(client: httpx.AsyncClient) -> None:
    """As an argument, and for what has no arguments in `request.auth`."""
    answer = await client.get("/me", headers=ANN)
    assert (answer.status_code, answer.json()) == (200, ["ann", "ann"])


async def test_one_request_is_verified_once(client: httpx.AsyncClient, verifier: FakeVerifier) -> None:
    """However many dependencies want to know."""
    assert (await client.get("/notes", headers=ANN)).json() is True
    assert verifier.asked == ["ann's"]


async def test_who_is_not_let_in_gets_what_rfc_6750_says(client: httpx.AsyncClient, verifier: FakeVerifier) -> None:
    """401 without a token and with a dead one, 403 without the scope, 503 while nobody can be asked."""
    missing = await client.get("/me")
    assert (missing.status_code, missing.headers["WWW-Authenticate"]) == (401, CHALLENGE)
    assert missing.json() == {"detail": "not authenticated"}

    forbidden = await client.put("/notes", headers=ANN)
    challenge = f'{CHALLENGE}, error="insufficient_scope", scope="notes:read notes:write"'
    assert (forbidden.status_code, forbidden.headers["WWW-Authenticate"]) == (403, challenge)

    verifier.end("ann's")
    dead = await client.get("/me", headers=ANN)
    assert (dead.status_code, dead.headers["WWW-Authenticate"]) == (401, f'{CHALLENGE}, error="invalid_token"')

    verifier.failure = Unavailable()
    unavailable = await client.get("/me", headers=ANN)
    assert (unavailable.status_code, unavailable.headers["Retry-After"]) == (503, "1")


async def test_the_application_decides_what_errors_look_like(app: FastAPI, client: httpx.AsyncClient) -> None:
    """They are exceptions of the framework."""

    @app.exception_handler(HTTPException)
    async def problem(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"title": error.detail}, error.status_code, error.headers)

    refused = await client.get("/me")
    assert (refused.json(), refused.headers["WWW-Authenticate"]) == ({"title": "not authenticated"}, CHALLENGE)


async def test_the_document_of_the_api_names_the_scheme(client: httpx.AsyncClient) -> None:
    """So that its page has a button to authorize, and only where a token is expected."""
    document = (await client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"] == {
        "userToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A user's token."}
    }
    for path in ("/me", "/notes"):
        assert document["paths"][path]["get"]["security"] == [{"userToken": []}]
        assert "parameters" not in document["paths"][path]["get"]


async def test_tests_of_a_service_override_one_dependency(
    app: FastAPI, auth: FastApiAuth, client: httpx.AsyncClient
) -> None:
    """And scopes are still required."""
    app.dependency_overrides[auth.authenticated] = lambda: some_claims(login="bob", scope="notes:read notes:write")
    assert (await client.put("/notes")).json() == "bob"
    app.dependency_overrides[auth.authenticated] = lambda: some_claims(login="bob", scope="notes:read")
    assert (await client.put("/notes")).status_code == 403


@pytest.mark.parametrize("how", ["header", "subprotocol"])
async def test_a_websocket_ends_with_its_session(app: FastAPI, verifier: FakeVerifier, how: str) -> None:
    """The endpoint meets the exception it has to expect anyway."""
    connection = (
        AsgiConnection(app, path="/live", authorization=["Bearer ann's"])
        if how == "header"
        else AsgiConnection(app, path="/live", subprotocols=["jincor-auth", "jincor-auth.bearer.ann's"])
    )
    async with connection:
        accepted = await connection.sent()
        assert accepted["type"] == "websocket.accept"
        assert accepted["subprotocol"] == (None if how == "header" else "jincor-auth")
        connection.put({"type": "websocket.receive", "text": "hello"})
        assert (await connection.sent())["text"] == "ann: hello"
        verifier.end("ann's")
        assert await connection.sent() == {"type": "websocket.close", "code": 1008, "reason": "session ended"}
    assert app.state.gone == (1008, "session ended")


@pytest.mark.parametrize(("path", "authorization", "status"), [("/live", [], 401), ("/who", ["Bearer ann's"], 403)])
async def test_a_websocket_is_refused_before_it_is_open(
    app: FastAPI, path: str, authorization: list[str], status: int
) -> None:
    """With a status where the server can send one, otherwise with 1008."""
    async with AsgiConnection(app, path=path, authorization=authorization) as connection:
        start, body = await connection.sent(), await connection.sent()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
        assert b"detail" in body["body"]
    async with AsgiConnection(app, path=path, authorization=authorization, can_deny=False) as connection:
        closed = await connection.sent()
        assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


async def test_without_its_lifespan_it_says_what_is_missing() -> None:
    """A mistake of the programmer, not an answer to a client."""
    auth = FastApiAuth("amqp://broker.invalid")
    for use in (auth.verify("ann's"), auth.until_ended("ann's")):
        with pytest.raises(RuntimeError, match="lifespan"):
            await use
    with pytest.raises(RuntimeError, match="lifespan"):
        _ = auth.client


def test_a_scope_that_can_be_none_is_a_mistake_that_shows_at_once(auth: FastApiAuth) -> None:
    """When the endpoint is declared, not when it is called."""
    for declare in (auth.require, auth.websocket):
        with pytest.raises(ValueError, match="not a valid scope name"):
            declare('notes:"read"')
