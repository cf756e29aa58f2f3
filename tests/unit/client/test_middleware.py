"""`AuthMiddleware` in front of a plain ASGI application."""

import json
from collections.abc import Sequence

import pytest

from shared.asgi.bearer import AsgiScope
from shared.asgi.middleware import AuthMiddleware
from shared.asgi.session_socket import Receive, Send
from shared.contracts.errors import (
    AuthError,
    DeadlineExceeded,
    Forbidden,
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


async def whoami(scope: AsgiScope, _receive: Receive, send: Send) -> None:
    """Answer with the login of the caller."""
    if scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.complete"})
        return
    name = scope["auth"].login if "auth" in scope else "nobody"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": name.encode()})


async def ask(
    app: AuthMiddleware, *authorization: str, path: str = "/", root_path: str = ""
) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body of the response to a request."""
    async with AsgiConnection(app, "http", path, authorization=authorization, root_path=root_path) as connection:
        start, body = await connection.sent(), await connection.sent()
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, body["body"].decode()


@pytest.mark.parametrize("authorization", ["Bearer ann's", "bearer ann's", "BEARER   ann's "])
async def test_live_token_passes_its_claims_in_any_case_of_the_scheme(
    verifier: FakeVerifier, authorization: str
) -> None:
    """Scheme names are case-insensitive (RFC 9110, 11.1)."""
    assert await ask(AuthMiddleware(whoami, verifier), authorization) == (200, {}, "ann")


@pytest.mark.parametrize(
    "authorization", [(), ("Basic YTpi",), ("Bearer",), ("Bearer ",), ("ann's",), ("Bearer ann's", "Bearer bob's")]
)
async def test_request_without_a_token_is_challenged_without_a_reason(
    verifier: FakeVerifier, authorization: Sequence[str]
) -> None:
    """RFC 6750 gives no error code here, and the verifier is not called."""
    status, headers, body = await ask(AuthMiddleware(whoami, verifier), *authorization)
    assert (status, headers["www-authenticate"]) == (401, CHALLENGE)
    assert json.loads(body) == {"detail": "not authenticated"}
    assert headers["content-length"] == str(len(body))
    assert verifier.asked == []


async def test_invalid_or_revoked_token_is_refused_with_invalid_token(verifier: FakeVerifier) -> None:
    app = AuthMiddleware(whoami, verifier)
    refused = await ask(app, "Bearer nonsense")
    assert (refused[0], refused[1]["www-authenticate"]) == (401, f'{CHALLENGE}, error="invalid_token"')
    verifier.end("ann's")
    assert await ask(app, "Bearer ann's") == refused


async def test_insufficient_scope_is_refused_with_all_required_names(verifier: FakeVerifier) -> None:
    assert (await ask(AuthMiddleware(whoami, verifier, require="notes:read"), "Bearer ann's"))[0] == 200
    app = AuthMiddleware(whoami, verifier, require="notes:read notes:write")
    status, headers, body = await ask(app, "Bearer ann's")
    challenge = f'{CHALLENGE}, error="insufficient_scope", scope="notes:read notes:write"'
    assert (status, headers["www-authenticate"]) == (403, challenge)
    assert json.loads(body) == {"detail": "scope is not sufficient: notes:read notes:write"}


@pytest.mark.parametrize(
    "failure",
    [
        Unavailable(),
        Overloaded(retry_after_seconds=1),
        DeadlineExceeded(),
        InternalError(),
        ServiceCredentialsRejected(),
        Forbidden.without("tokens:verify"),
        LoginTaken(),
    ],
)
async def test_failed_verification_is_answered_503_with_retry_after(verifier: FakeVerifier, failure: AuthError) -> None:
    """This includes a refusal of the service's own credentials."""
    verifier.failure = failure
    status, headers, body = await ask(AuthMiddleware(whoami, verifier), "Bearer ann's")
    assert (status, headers["retry-after"]) == (503, "1")
    assert json.loads(body) == {"detail": Unavailable.text}


async def test_failed_verification_passes_on_the_retry_after_of_the_service(verifier: FakeVerifier) -> None:
    verifier.failure = Overloaded(retry_after_seconds=7)
    status, headers, _ = await ask(AuthMiddleware(whoami, verifier), "Bearer ann's")
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
async def test_excluded_path_is_open_only_on_an_exact_match_or_below_a_wildcard(
    verifier: FakeVerifier, path: str, is_open: bool
) -> None:
    """Paths with `.` or `..` segments never match a wildcard."""
    app = AuthMiddleware(whoami, verifier, exclude=["/health", "/static/*"])
    for root_path in ("", "/notes"):
        status, _, body = await ask(app, path=root_path + path, root_path=root_path)
        assert (status, body) == (200, "nobody") if is_open else status == 401


async def test_lifespan_scope_passes_without_authentication(verifier: FakeVerifier) -> None:
    async with AsgiConnection(AuthMiddleware(whoami, verifier), "lifespan") as connection:
        assert await connection.sent() == {"type": "lifespan.startup.complete"}


async def test_websocket_without_a_token_is_refused_with_401_and_a_body(verifier: FakeVerifier) -> None:
    """This needs a server with the denial response extension."""
    async with AsgiConnection(AuthMiddleware(whoami, verifier)) as connection:
        start, body = await connection.sent(), await connection.sent()
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert (b"www-authenticate", CHALLENGE.encode()) in start["headers"]
    assert (body["type"], json.loads(body["body"])) == ("websocket.http.response.body", {"detail": "not authenticated"})


async def test_websocket_on_a_server_without_denial_responses_is_closed_with_1008(verifier: FakeVerifier) -> None:
    app = AuthMiddleware(whoami, verifier, require="notes:write")
    async with AsgiConnection(app, authorization=["Bearer ann's"], can_deny=False) as connection:
        assert await connection.sent() == {
            "type": "websocket.close",
            "code": 1008,
            "reason": "scope is not sufficient: notes:write",
        }
