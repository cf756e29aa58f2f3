"""`FastApiAuth`: dependencies for requests and WebSockets, and the OpenAPI document that they produce."""

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


async def test_authenticated_request_passes_claims_to_argument_and_scope(client: httpx.AsyncClient) -> None:
    answer = await client.get("/me", headers=ANN)
    assert (answer.status_code, answer.json()) == (200, ["ann", "ann"])


async def test_request_with_several_dependencies_is_verified_once(
    client: httpx.AsyncClient, verifier: FakeVerifier
) -> None:
    assert (await client.get("/notes", headers=ANN)).json() is True
    assert verifier.asked == ["ann's"]


async def test_refused_request_gets_status_and_challenge_of_rfc_6750(
    client: httpx.AsyncClient, verifier: FakeVerifier
) -> None:
    """401 without a token or with a revoked one, 403 without the scope, 503 while the service is unreachable."""
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


async def test_refused_request_with_an_exception_handler_gets_its_response(
    app: FastAPI, client: httpx.AsyncClient
) -> None:

    @app.exception_handler(HTTPException)
    async def problem(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"title": error.detail}, error.status_code, error.headers)

    refused = await client.get("/me")
    assert (refused.json(), refused.headers["WWW-Authenticate"]) == ({"title": "not authenticated"}, CHALLENGE)


async def test_openapi_document_requires_the_scheme_only_where_a_token_is_expected(client: httpx.AsyncClient) -> None:
    """The documentation page shows its Authorize button from this entry."""
    document = (await client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"] == {
        "userToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A user's token."}
    }
    for path in ("/me", "/notes"):
        assert document["paths"][path]["get"]["security"] == [{"userToken": []}]
        assert "parameters" not in document["paths"][path]["get"]


async def test_overridden_authentication_still_requires_scopes(
    app: FastAPI, auth: FastApiAuth, client: httpx.AsyncClient
) -> None:
    """Tests of a service override this one dependency."""
    app.dependency_overrides[auth.authenticated] = lambda: some_claims(login="bob", scope="notes:read notes:write")
    assert (await client.put("/notes")).json() == "bob"
    app.dependency_overrides[auth.authenticated] = lambda: some_claims(login="bob", scope="notes:read")
    assert (await client.put("/notes")).status_code == 403


@pytest.mark.parametrize("carrier", ["header", "subprotocol"])
async def test_websocket_whose_session_ends_closes_with_1008(
    app: FastAPI, verifier: FakeVerifier, carrier: str
) -> None:
    """The endpoint sees a `WebSocketDisconnect`, as after any lost connection."""
    connection = (
        AsgiConnection(app, path="/live", authorization=["Bearer ann's"])
        if carrier == "header"
        else AsgiConnection(app, path="/live", subprotocols=["jincor-auth", "jincor-auth.bearer.ann's"])
    )
    async with connection:
        accepted = await connection.sent()
        assert accepted["type"] == "websocket.accept"
        assert accepted["subprotocol"] == (None if carrier == "header" else "jincor-auth")
        connection.put({"type": "websocket.receive", "text": "hello"})
        assert (await connection.sent())["text"] == "ann: hello"
        verifier.end("ann's")
        assert await connection.sent() == {"type": "websocket.close", "code": 1008, "reason": "session ended"}
    assert app.state.gone == (1008, "session ended")


@pytest.mark.parametrize(("path", "authorization", "status"), [("/live", [], 401), ("/who", ["Bearer ann's"], 403)])
async def test_websocket_without_permission_is_refused_before_the_handshake(
    app: FastAPI, path: str, authorization: list[str], status: int
) -> None:
    """The refusal is an HTTP status where the server supports it, otherwise close code 1008."""
    async with AsgiConnection(app, path=path, authorization=authorization) as connection:
        start, body = await connection.sent(), await connection.sent()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
        assert b"detail" in body["body"]
    async with AsgiConnection(app, path=path, authorization=authorization, can_deny=False) as connection:
        closed = await connection.sent()
        assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


async def test_use_without_the_lifespan_raises_an_error_that_names_it() -> None:
    auth = FastApiAuth("amqp://broker.invalid")
    for use in (auth.verify("ann's"), auth.until_ended("ann's")):
        with pytest.raises(RuntimeError, match="lifespan"):
            await use
    with pytest.raises(RuntimeError, match="lifespan"):
        _ = auth.client


def test_invalid_scope_name_fails_at_declaration(auth: FastApiAuth) -> None:
    for declare in (auth.require, auth.websocket):
        with pytest.raises(ValueError, match="not a valid scope name"):
            declare('notes:"read"')
