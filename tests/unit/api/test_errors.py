"""Errors over HTTP: the table, the documents, and what must never be in them."""

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


def test_each_code_has_a_row() -> None:
    """Whatever code an error has, the table says how it looks over HTTP."""
    assert set(HTTP_ANSWERS) == {*ErrorCode, *EdgeCode}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("bad_request", 400),
        ("invalid_request", 422),
        ("invalid_tenant_token", 401),
        ("invalid_token", 400),
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
async def test_error_of_a_worker(edge: httpx.AsyncClient, rpc: FakeRpc, code: str, status: int) -> None:
    """An error of a worker becomes a problem document with its code, its text and the status of its row."""
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
async def test_error_of_a_newer_worker(
    edge: httpx.AsyncClient, rpc: FakeRpc, retry: dict[str, int], status: int
) -> None:
    """Its code and its text are passed on, under the status of a refusal, or of what is worth another try."""
    reply = ErrorReply(code="from_tomorrow", message="not today", details={"step": "mail"}, **retry)
    rpc.answers["auth.login"] = from_reply(reply)

    response = await edge.post("/auth", json={"login": "ada", "password": "p", "deviceId": "d"}, headers=TENANT)

    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, "from_tomorrow")
    assert document["error"] == document["detail"] == "not today"
    assert document["details"] == {"step": "mail"}
    assert response.headers.get("Retry-After") == ("42" if retry else None)


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_error_of_a_newer_worker_where_oauth_is_spoken(edge: httpx.AsyncClient, rpc: FakeRpc, path: str) -> None:
    """There it is a refusal too, and no fault."""
    for operation in ("auth.verify", "token.introspect", "token.revoke"):
        rpc.answers[operation] = from_reply(ErrorReply(code="from_tomorrow", message="not today"))
    response = await edge.post(path, data={"token": "t"}, headers=TENANT)
    # Of introspection, a refused token is the answer.
    assert response.json() == {"active": False} if path == "/introspect" else response.status_code == 403


@pytest.mark.parametrize(("operation", "status"), [("auth.verify", 401), ("tenant.login", 503)])
async def test_error_of_a_newer_worker_behind_a_proxy(
    open_edge: OpenEdge, rpc: FakeRpc, operation: str, status: int
) -> None:
    """A proxy lets nobody in; what is wrong with this edge's own login is no refusal of its client."""
    rpc.answers[operation] = from_reply(ErrorReply(code="from_tomorrow", message="not today"))
    async with open_edge(forward_email="shop@example.com", forward_password="p") as edge:
        response = await edge.get("/auth/forward", headers={"Authorization": "Bearer t"})
    assert response.status_code == status


async def test_fields_that_a_worker_refused(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    """The fields that a worker complains about are listed as the edge's own."""
    rpc.answers["auth.logout"] = InvalidRequest(problems=[FieldProblem(field="token", message="is odd")])

    response = await edge.post("/auth/logout", json={"token": "t"}, headers=TENANT)

    assert response.json()["errors"] == [{"field": "token", "message": "is odd"}]


async def test_every_bad_field_is_listed_without_its_value(edge: httpx.AsyncClient) -> None:
    """An invalid body gives 422 with each bad field by name, and no part of what was sent."""
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
async def test_how_long_to_wait(edge: httpx.AsyncClient, rpc: FakeRpc, error: type[Temporary]) -> None:
    """`Retry-After` is what the worker says, or the client of the workers."""
    rpc.answers["auth.login"] = error(retry_after_seconds=42)

    response = await edge.post("/auth", json={"login": "ada", "password": "p", "deviceId": "d"}, headers=TENANT)

    assert (response.status_code, response.json()["code"]) == (HTTP_ANSWERS[error.code].status, error.code)
    assert response.headers["Retry-After"] == "42"


async def test_incident_of_a_worker_is_passed_on(edge: httpx.AsyncClient, rpc: FakeRpc) -> None:
    """The incident that a worker logged is the one that the caller learns."""
    rpc.answers["auth.logout"] = InternalError(incident="in-the-workers-log")

    response = await edge.post("/auth/logout", json={"token": "t"}, headers=TENANT)

    assert response.json()["incident"] == "in-the-workers-log"


@pytest.mark.parametrize("fault", [ZeroDivisionError("what broke"), InternalError()])
async def test_fault_of_the_edge(
    edge: httpx.AsyncClient, rpc: FakeRpc, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    """An unexpected exception gives a bare 500 whose incident is in the log next to the traceback."""
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


async def test_unknown_route(edge: httpx.AsyncClient) -> None:
    """A path that leads nowhere gives a problem document too."""
    for path in ("/", "/nowhere", "/user/", "/user//sessions", "/user/a/b", "/tenant/", "/auth//"):
        response = await edge.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "route_not_found"), path
        assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/user", {"GET", "POST"}),
        ("GET", "/user/ada", {"PATCH", "DELETE"}),
        ("POST", "/user/ada/sessions", {"GET", "DELETE"}),
        ("GET", "/auth/verify", {"POST"}),
        ("GET", "/tenant", {"POST", "PATCH"}),
        ("OPTIONS", "/health/live", {"GET", "HEAD"}),
    ],
)
async def test_wrong_method(edge: httpx.AsyncClient, method: str, path: str, allowed: set[str]) -> None:
    """A wrong method gives 405 and the methods that would be right."""
    response = await edge.request(method, path)

    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == allowed
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("error", ERRORS.values())
async def test_no_secret_in_errors_or_logs(
    edge: httpx.AsyncClient, rpc: FakeRpc, caplog: pytest.LogCaptureFixture, error: type[AuthError]
) -> None:
    """Whatever goes wrong, passwords and tokens are neither in the answer nor in the log."""
    caplog.set_level(logging.DEBUG)
    rpc.answers["auth.login"] = error()
    body = {"login": "ada", "password": SECRET, "deviceId": "d"}

    response = await edge.post("/auth", json=body, headers={"Authorization": f"Bearer {SECRET}"})

    assert SECRET not in response.text
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    assert ours
    assert not any(SECRET in str(vars(record)) for record in ours)
