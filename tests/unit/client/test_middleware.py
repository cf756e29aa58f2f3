"""`AuthMiddleware` in front of an application that is nothing but ASGI."""

import json
from collections.abc import Sequence

import pytest

from shared.asgi.bearer import AsgiScope
from shared.asgi.middleware import AuthMiddleware
from shared.asgi.session_socket import Receive, Send
from shared.contracts.errors import (
    AuthError,
    DeadlineExceeded,
    InternalError,
    LoginTaken,
    Overloaded,
    ServiceCredentialsRejected,
    Unavailable,
)
from tests.unit.client.asgi_connection import AsgiConnection
from tests.unit.client.fake_verifier import FakeVerifier

CHALLENGE = 'Bearer realm="jincor-auth"'


@pytest.fixture
def verifier() -> FakeVerifier:
    verifier = FakeVerifier()
    verifier.open("ann's", login="ann", scope="notes:read")
    return verifier


async def who(scope: AsgiScope, _receive: Receive, send: Send) -> None:
    """Answers with the login of who asks."""
    if scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.complete"})
        return
    name = scope["auth"].login if "auth" in scope else "nobody"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": name.encode()})


async def ask(
    app: AuthMiddleware, *authorization: str, path: str = "/", root_path: str = ""
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer to a request."""
    async with AsgiConnection(app, "http", path, authorization=authorization, root_path=root_path) as connection:
        start, body = await connection.sent(), await connection.sent()
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, body["body"].decode()


@pytest.mark.parametrize("authorization", ["Bearer ann's", "bearer ann's", "BEARER   ann's "])
async def test_who_has_a_live_token_is_let_in_with_its_claims(verifier: FakeVerifier, authorization: str) -> None:
    """The name of a scheme has no case (RFC 9110, 11.1)."""
    assert await ask(AuthMiddleware(who, verifier), authorization) == (200, {}, "ann")


@pytest.mark.parametrize(
    "authorization", [(), ("Basic YTpi",), ("Bearer",), ("Bearer ",), ("ann's",), ("Bearer ann's", "Bearer bob's")]
)
async def test_who_has_no_token_is_challenged(verifier: FakeVerifier, authorization: Sequence[str]) -> None:
    """Without a reason, as RFC 6750 wants it, and without a question to anyone."""
    status, headers, body = await ask(AuthMiddleware(who, verifier), *authorization)
    assert (status, headers["www-authenticate"]) == (401, CHALLENGE)
    assert json.loads(body) == {"detail": "not authenticated"}
    assert headers["content-length"] == str(len(body))
    assert verifier.asked == []


async def test_a_token_that_is_none_is_refused_with_the_reason(verifier: FakeVerifier) -> None:
    """And a session that has ended is no session."""
    app = AuthMiddleware(who, verifier)
    refused = await ask(app, "Bearer nonsense")
    assert (refused[0], refused[1]["www-authenticate"]) == (401, f'{CHALLENGE}, error="invalid_token"')
    verifier.end("ann's")
    assert await ask(app, "Bearer ann's") == refused


async def test_a_scope_that_is_not_sufficient_is_refused_with_the_one_that_would_be(verifier: FakeVerifier) -> None:
    """All of the names are required."""
    assert (await ask(AuthMiddleware(who, verifier, require="notes:read"), "Bearer ann's"))[0] == 200
    app = AuthMiddleware(who, verifier, require="notes:read notes:write")
    status, headers, body = await ask(app, "Bearer ann's")
    challenge = f'{CHALLENGE}, error="insufficient_scope", scope="notes:read notes:write"'
    assert (status, headers["www-authenticate"]) == (403, challenge)
    assert json.loads(body) == {"detail": "scope is not sufficient: notes:read notes:write"}


@pytest.mark.parametrize(
    "failure",
    [Unavailable(), Overloaded(), DeadlineExceeded(), InternalError(), ServiceCredentialsRejected(), LoginTaken()],
)
async def test_while_nobody_can_be_asked_nobody_is_let_in(verifier: FakeVerifier, failure: AuthError) -> None:
    """With 503 and when to come again, also when it is this service's own credentials that are refused."""
    verifier.failure = failure
    status, headers, body = await ask(AuthMiddleware(who, verifier), "Bearer ann's")
    assert (status, headers["retry-after"]) == (503, "1")
    assert json.loads(body) == {"detail": Unavailable.text}


async def test_who_is_not_let_in_hears_when_to_come_again(verifier: FakeVerifier) -> None:
    """As the service says it."""
    verifier.failure = Overloaded(retry_after_seconds=7)
    status, headers, _ = await ask(AuthMiddleware(who, verifier), "Bearer ann's")
    assert (status, headers["retry-after"]) == (503, "7")


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        ("/health", True),
        ("/health/", False),
        ("/health/x", False),
        ("/static/", True),
        ("/static/a/b.css", True),
        ("/static", False),
        ("/static/../notes", False),
        ("/static/./a", False),
        ("/static/..css", True),
        ("/", False),
        ("/notes", False),
    ],
)
async def test_paths_are_open_to_everyone_only_as_said(verifier: FakeVerifier, path: str, is_open: bool) -> None:
    """The very path, or what is below it; and nothing that leads out of there."""
    app = AuthMiddleware(who, verifier, exclude=["/health", "/static/*"])
    for root_path in ("", "/notes"):
        status, _, body = await ask(app, path=root_path + path, root_path=root_path)
        assert (status, body) == (200, "nobody") if is_open else status == 401


async def test_what_is_no_connection_of_a_client_passes(verifier: FakeVerifier) -> None:
    """The lifespan."""
    async with AsgiConnection(AuthMiddleware(who, verifier), "lifespan") as connection:
        assert await connection.sent() == {"type": "lifespan.startup.complete"}


async def test_a_websocket_is_refused_as_a_request_is(verifier: FakeVerifier) -> None:
    """With status and body where the server can send them before the handshake."""
    async with AsgiConnection(AuthMiddleware(who, verifier)) as connection:
        start, body = await connection.sent(), await connection.sent()
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert (b"www-authenticate", CHALLENGE.encode()) in start["headers"]
    assert (body["type"], json.loads(body["body"])) == ("websocket.http.response.body", {"detail": "not authenticated"})


async def test_a_websocket_is_closed_where_it_cannot_be_refused_otherwise(verifier: FakeVerifier) -> None:
    """With 1008, before it is open."""
    app = AuthMiddleware(who, verifier, require="notes:write")
    async with AsgiConnection(app, authorization=["Bearer ann's"], can_deny=False) as connection:
        assert await connection.sent() == {
            "type": "websocket.close",
            "code": 1008,
            "reason": "scope is not sufficient: notes:write",
        }
