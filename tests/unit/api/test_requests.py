"""Request ids, log lines, headers and malformed bodies."""

import logging
from typing import NamedTuple

import httpx
import pytest

from shared.contracts.errors import Unavailable
from tests.unit.api.conftest import OpenEdge
from tests.unit.api.fake_rpc import FakeRpc

TENANT = {"Authorization": "Bearer tenant-token"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("given", ["r", "01J.x_y:z-9", "a" * 128])
async def test_valid_request_id_is_passed_to_the_worker_and_returned(
    edge: httpx.AsyncClient, rpc: FakeRpc, given: str
) -> None:
    response = await edge.post("/tenant/logout", json={"token": "t"}, headers={"X-Request-ID": given})

    assert response.headers["X-Request-ID"] == given
    assert rpc.calls[0].request_id == given


@pytest.mark.parametrize("given", [None, "", "a" * 129, "two words", 'say "hi"', "new\tline"])
async def test_missing_or_invalid_request_id_is_replaced(
    edge: httpx.AsyncClient, rpc: FakeRpc, given: str | None
) -> None:
    """The worker and the response get the same new id."""
    headers = {} if given is None else {"X-Request-ID": given}
    response = await edge.post("/tenant/logout", json={"token": "t"}, headers=headers)

    made = response.headers["X-Request-ID"]
    assert len(made) == 32
    assert rpc.calls[0].request_id == made


async def test_generated_request_ids_differ(edge: httpx.AsyncClient) -> None:
    ids = {(await edge.get("/health/live")).headers["X-Request-ID"] for _ in range(5)}

    assert len(ids) == 5


@pytest.mark.parametrize(
    ("line", "route", "status"),
    [
        ("DELETE /user/secret-login", "/user/{login}", 200),
        ("PUT /user/secret-login", "/user/{login}", 405),
        ("GET /user/secret-login/sessions?secret-query=1", "/user/{login}/sessions", 200),
        ("GET /secret-login", None, 404),
    ],
)
async def test_request_leaves_one_log_line_with_its_route_template(
    edge: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, line: str, route: str | None, status: int
) -> None:
    """The line holds no part of the path or query."""
    caplog.set_level(logging.INFO)
    method, path = line.split()
    await edge.request(method, path, headers={**TENANT, "X-Request-ID": "r-1"})

    [record] = [record for record in caplog.records if record.name == "api.middleware"]
    fields = vars(record)
    assert (fields["method"], fields["route"], fields["status"]) == (method, route, status)
    assert fields["request_id"] == "r-1"
    assert fields["duration_ms"] >= 0
    assert "secret" not in str(fields)


class Logged(NamedTuple):
    """A sampling rate, a request with its outcome, and the expected number of log lines."""

    sample: float
    path: str
    status: int
    code: str | None
    lines: int


@pytest.mark.parametrize(
    "verification",
    [
        Logged(0.0, "/auth/verify", 200, None, 0),
        Logged(1.0, "/auth/verify", 200, None, 1),
        Logged(0.0, "/auth/verify", 503, "unavailable", 1),
        Logged(0.0, "/tenant/verify", 200, None, 0),
        Logged(0.0, "/auth/logout", 200, None, 1),
    ],
)
async def test_successful_verification_is_logged_at_the_sampling_rate(
    open_edge: OpenEdge, rpc: FakeRpc, caplog: pytest.LogCaptureFixture, verification: Logged
) -> None:
    """All other requests are always logged. The line states the sampling rate."""
    caplog.set_level(logging.INFO)
    sample, path, status, code, lines = verification
    if status != 200:
        rpc.answers["auth.verify"] = Unavailable()
    async with open_edge(log_verify_sample=sample) as edge:
        answer = await edge.post(path, json={"token": "t"}, headers=TENANT)

    assert answer.status_code == status
    logged = [vars(record) for record in caplog.records if record.name == "api.middleware"]
    assert len(logged) == lines
    for line in logged:
        assert (line["status"], line["code"]) == (status, code)
        assert line.get("sample") == (sample if path == "/auth/verify" and status == 200 else None)


async def test_error_code_is_logged_only_on_its_own_request(
    edge: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await edge.get("/nowhere")
    await edge.get("/openapi.json")

    logged = [vars(record) for record in caplog.records if record.name == "api.middleware"]
    assert [line["code"] for line in logged] == ["route_not_found", None]


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", "/user", "/openapi.json"])
async def test_response_forbids_caching_and_sniffing(edge: httpx.AsyncClient, path: str) -> None:
    response = await edge.get(path)

    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"token": "t"',
        b'{"token": "\xff"}',
        b'{"token": "\\ud800"}',
        b'{"token": NaN}',
        b'{"token": 1e999}',
        b'{"token": %s}' % (b"9" * 5000),
        b"[" * 100_000,
        b'{"token":' * 10_000 + b"1" + b"}" * 10_000,
        '{"token": "t"}'.encode("utf-16"),
    ],
    ids=lambda body: body[:20],
)
async def test_body_that_is_not_json_is_answered_400_or_422(edge: httpx.AsyncClient, rpc: FakeRpc, body: bytes) -> None:
    """Includes JSON that parsers read differently."""
    response = await edge.post("/tenant/logout", content=body, headers=JSON)

    assert response.status_code in {400, 422}
    assert response.json()["code"] in {"bad_request", "invalid_request"}
    assert rpc.calls == []


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"text"', b"1", b'{"token": {}}', b'{"token": null}', b"{}"])
async def test_json_body_of_the_wrong_shape_is_answered_422(edge: httpx.AsyncClient, rpc: FakeRpc, body: bytes) -> None:
    response = await edge.post("/tenant/logout", content=body, headers=JSON)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert rpc.calls == []


@pytest.mark.parametrize("scope", [b'{"\\ud800": 1}', b'{"a": NaN}', b'{"a": %s}' % (b"9" * 5000), b"1", b"[]"])
async def test_scope_that_json_cannot_carry_is_refused(edge: httpx.AsyncClient, rpc: FakeRpc, scope: bytes) -> None:
    """The edge could not send it to a worker."""
    body = b'{"login": "ada", "email": "a@b", "password": "long enough", "scope": %s}' % scope
    response = await edge.post("/user", content=body, headers={**TENANT, **JSON})

    assert response.status_code in {400, 422}
    assert rpc.calls == []


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_body_without_a_json_content_type_is_answered_415(
    edge: httpx.AsyncClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await edge.post("/tenant/logout", content=b'{"token": "t"}', headers=headers)

    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_content_type_with_parameters_or_upper_case_is_accepted(
    edge: httpx.AsyncClient, content_type: str
) -> None:
    response = await edge.post("/tenant/logout", content=b'{"token": "t"}', headers={"Content-Type": content_type})

    assert response.status_code == 200


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", f"limit={'9' * 5000}", f"q={'x' * 257}"])
async def test_invalid_query_parameter_is_answered_422_with_its_name(edge: httpx.AsyncClient, query: str) -> None:
    response = await edge.get(f"/user?{query}", headers=TENANT)

    assert response.status_code == 422
    assert [each["field"] for each in response.json()["errors"]] == [query.partition("=")[0]]
