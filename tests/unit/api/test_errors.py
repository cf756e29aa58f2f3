"""Errors over HTTP: the table of statuses, the problem documents, and their secrecy."""

import logging

import httpx
import pytest

from api.errors import HTTP_ANSWERS, EdgeCode
from shared.contracts.errors import (
    ERRORS,
    AuthError,
    ErrorCode,
    ErrorReply,
    FieldProblem,
    InternalError,
    InvalidRequest,
    Temporary,
    from_reply,
)
from tests.unit.api.conftest import OpenEdge
from tests.unit.api.fake_rpc import FakeRpc

TENANT = {"Authorization": "Bearer tenant-token"}
SECRET = "hunter2-but-longer"


def test_each_error_code_has_a_row_in_the_http_table() -> None:
    assert set(HTTP_ANSWERS) == {*ErrorCode, *EdgeCode}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("bad_request", 400),
        ("invalid_request", 422),
        ("invalid_tenant_token", 401),
        ("invalid_token", 400),
        ("unsupported_token_type", 400),
        ("invalid_credentials", 403),
        ("throttled", 429),
        ("registration_forbidden", 403),
        ("user_not_found", 404),
        ("session_not_found", 404),
        ("login_taken", 409),
        ("email_taken", 409),
        ("unavailable", 503),
        ("overloaded", 503),
        ("deadline_exceeded", 504),
        ("internal", 500),
    ],
)
async def test_worker_error_becomes_a_problem_document_with_its_status(
    edge: httpx.AsyncClient, rpc: FakeRpc, code: str, status: int
) -> None:
    error = ERRORS[ErrorCode(code)]()
    rpc.answers["auth.logout"] = error

    response = await edge.post("/auth/logout", json={"token": "t"}, headers={**TENANT, "X-Request-ID": "r-1"})

    document = response.json()
    incident = document.pop("incident", None)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert document.pop("title")
    assert document.pop("errors", []) == []
    assert document == {
        "type": "about:blank",
        "status": status,
        "code": code,
        "detail": str(error),
        "error": str(error),
        "requestId": "r-1",
    }
    assert (incident is not None) == (status == 500)
    expected = str(error.retry_after_seconds) if isinstance(error, Temporary) else None
    assert response.headers.get("Retry-After") == expected
    assert (expected is not None) == (status in {429, 503, 504})
    assert response.headers.get("WWW-Authenticate") == (
        'Bearer realm="jincor-auth", error="invalid_token"' if status == 401 else None
    )


@pytest.mark.parametrize(("retry", "status"), [({}, 403), ({"retry_after_seconds": 42}, 503)])
async def test_unknown_worker_error_is_answered_403_or_503_if_temporary(
    edge: httpx.AsyncClient, rpc: FakeRpc, retry: dict[str, int], status: int
) -> None:
    """A newer worker may send codes that this edge does not know; code and text are passed on."""
    reply = ErrorReply(code="from_tomorrow", message="not today", details={"step": "mail"}, **retry)
    rpc.answers["auth.login"] = from_reply(reply)

    response = await edge.post("/auth", json={"login": "ada", "password": "p", "deviceId": "d"}, headers=TENANT)

    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, "from_tomorrow")
    assert document["error"] == document["detail"] == "not today"
    assert document["details"] == {"step": "mail"}
    assert response.headers.get("Retry-After") == ("42" if retry else None)


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_unknown_worker_error_on_oauth_routes_is_a_refusal(
    edge: httpx.AsyncClient, rpc: FakeRpc, path: str
) -> None:
    for operation in ("auth.verify", "token.introspect", "token.revoke"):
        rpc.answers[operation] = from_reply(ErrorReply(code="from_tomorrow", message="not today"))
    response = await edge.post(path, data={"token": "t"}, headers=TENANT)
    # Introspection answers a refused token with 200.
    assert response.json() == {"active": False} if path == "/introspect" else response.status_code == 403


@pytest.mark.parametrize(("operation", "status"), [("auth.verify", 401), ("tenant.login", 503)])
async def test_unknown_worker_error_on_forward_auth_is_401_or_503(
    open_edge: OpenEdge, rpc: FakeRpc, operation: str, status: int
) -> None:
    """An error of the edge's own login is 503, because the client's token is not at fault."""
    rpc.answers[operation] = from_reply(ErrorReply(code="from_tomorrow", message="not today"))
    async with open_edge(forward_email="shop@example.com", forward_password="p") as edge:
        response = await edge.get("/auth/forward", headers={"Authorization": "Bearer t"})
    assert response.status_code == status


async def test_fields_refused_by_a_worker_are_listed_in_the_problem_document(
    edge: httpx.AsyncClient, rpc: FakeRpc
) -> None:
    rpc.answers["auth.logout"] = InvalidRequest(problems=[FieldProblem(field="token", message="is odd")])

    response = await edge.post("/auth/logout", json={"token": "t"}, headers=TENANT)

    assert response.json()["errors"] == [{"field": "token", "message": "is odd"}]


async def test_invalid_body_lists_each_field_without_its_value(edge: httpx.AsyncClient) -> None:
    body = {"email": f"{SECRET}-email", "login": "", "password": ["hunter2-but-longer"]}
    response = await edge.post("/user", json=body, headers=TENANT)

    document = response.json()
    assert response.status_code == 422
    assert document["code"] == "invalid_request"
    assert {each["field"] for each in document["errors"]} == {"email", "login", "password"}
    assert all(each["message"] for each in document["errors"])
    assert "login" in document["error"]
    assert SECRET not in response.text


@pytest.mark.parametrize("error", Temporary.__subclasses__())
async def test_temporary_error_passes_on_its_retry_after(
    edge: httpx.AsyncClient, rpc: FakeRpc, error: type[Temporary]
) -> None:
    """The value comes from the worker or from the RPC client."""
    rpc.answers["auth.login"] = error(retry_after_seconds=42)

    response = await edge.post("/auth", json={"login": "ada", "password": "p", "deviceId": "d"}, headers=TENANT)

    assert (response.status_code, response.json()["code"]) == (HTTP_ANSWERS[error.code].status, error.code)
    assert response.headers["Retry-After"] == "42"


async def test_internal_error_of_a_worker_passes_on_its_incident(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    rpc.answers["auth.logout"] = InternalError(incident="in-the-workers-log")

    response = await edge.post("/auth/logout", json={"token": "t"}, headers=TENANT)

    assert response.json()["incident"] == "in-the-workers-log"


@pytest.mark.parametrize("fault", [ZeroDivisionError("what broke"), InternalError()])
async def test_unexpected_exception_is_answered_500_with_a_logged_incident(
    edge: httpx.AsyncClient, rpc: FakeRpc, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    rpc.answers["auth.logout"] = fault

    response = await edge.post("/auth/logout", json={"token": "t"}, headers={**TENANT, "X-Request-ID": "r-1"})

    document = response.json()
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert response.status_code == 500
    assert vars(record)["incident"] == document["incident"]
    assert record.exc_info
    assert record.exc_info[1] is fault
    assert "what broke" not in response.text
    assert response.headers["X-Request-ID"] == "r-1"


async def test_unknown_path_is_answered_404_with_a_problem_document(edge: httpx.AsyncClient) -> None:
    for path in ("/nowhere", "/user/", "/user//sessions", "/user/a/b", "/tenant/", "/auth//"):
        response = await edge.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "route_not_found"), path
        assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/user", {"GET", "HEAD", "POST"}),
        ("PUT", "/user/ada", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("POST", "/user/ada/sessions", {"GET", "HEAD", "DELETE"}),
        ("GET", "/auth/verify", {"POST"}),
        ("GET", "/tenant", {"POST", "PATCH"}),
        ("OPTIONS", "/health/live", {"GET", "HEAD"}),
    ],
)
async def test_wrong_method_is_answered_405_with_the_allowed_ones(
    edge: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    response = await edge.request(method, path)

    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == allowed
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("error", ERRORS.values())
async def test_error_with_a_secret_in_the_request_reveals_it_nowhere(
    edge: httpx.AsyncClient, rpc: FakeRpc, caplog: pytest.LogCaptureFixture, error: type[AuthError]
) -> None:
    """Neither the response nor the log contains it."""
    caplog.set_level(logging.DEBUG)
    rpc.answers["auth.login"] = error()
    body = {"login": "ada", "password": SECRET, "deviceId": "d"}

    response = await edge.post("/auth", json=body, headers={"Authorization": f"Bearer {SECRET}"})

    assert SECRET not in response.text
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    assert ours
    assert not any(SECRET in str(vars(record)) for record in ours)
