"""Requests of the first Jincor Auth's specs and clients, and the page about what differs."""

import json
import uuid
from collections.abc import AsyncIterator
from string import Formatter
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dev.processes import REPOSITORY
from tests.backends import Backend
from tests.interop.first_version import PASSWORD, ROWS, Row, Sent
from tests.service import running_service

PAGE = REPOSITORY / "docs" / "coming-from-v1.md"
HEAD = "| request or value | first | now | why |"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """URL of an edge that believes `X-Forwarded-For`."""
    directory = tmp_path_factory.mktemp("first")
    env = {"AUTH_TRUSTED_PROXIES": "127.0.0.1"}
    async with running_service(directory, await backend.vhost(), backend.database_url(), env=env) as service:
        yield service.urls[0]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenants(url: str) -> dict[str, str]:
    """Values of a tenant with a user, of another tenant with a user, and of one without users."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        first, other, empty = [await _tenant(http) for _ in range(3)]
        headers = {"Authorization": f"Bearer {empty['tenant_token']}"}
        assert (await http.delete(f"/user/{empty['login']}", headers=headers)).status_code == 200
    return {**first, "other_user_token": other["user_token"], "empty_tenant_token": empty["tenant_token"]}


async def _tenant(http: httpx.AsyncClient) -> dict[str, str]:
    name = uuid.uuid4().hex[:12]
    email, login = f"{name}@example.com", f"user-{name}"
    registered = await http.post("/tenant", json={"email": email, "password": PASSWORD})
    token = registered.json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    user = {"email": f"{login}@example.com", "login": login, "password": PASSWORD, "sub": "123"}
    created = await http.post("/user", json=user, headers=headers)
    logged_in = await http.post("/auth", json={**user, "deviceId": "test"}, headers=headers)
    assert (registered.status_code, created.status_code, logged_in.status_code) == (200, 200, 200)
    return {"email": email, "login": login, "tenant_token": token, "user_token": logged_in.json()["accessToken"]}


def _filled(part: Any, values: dict[str, str]) -> Any:
    """Return a part of a request with the values in place of their names."""
    match part:
        case str():
            return Formatter().vformat(part, (), values)
        case dict():
            return {name: _filled(inner, values) for name, inner in part.items()}
        case _:
            return part


async def _respond(http: httpx.AsyncClient, sent: Sent, values: dict[str, str]) -> httpx.Response:
    content = None if sent.body is None else json.dumps(_filled(sent.body, values))
    headers = {} if content is None else {"Content-Type": "application/json"}
    headers |= _filled(sent.headers, values)
    return await http.request(sent.method, _filled(sent.path, values), headers=headers, content=content)


@pytest.mark.parametrize(
    ("row", "sent"),
    [pytest.param(row, sent, id=f"{row.what} {number}") for row in ROWS for number, sent in enumerate(row.sent)],
)
async def test_request_of_the_first_version_gets_the_answer_of_its_row(
    url: str, tenants: dict[str, str], row: Row, sent: Sent
) -> None:
    name = uuid.uuid4().hex[:12]
    values = {**tenants, "part": tenants["login"][2:-2], "new_email": f"{name}@example.com", "new_login": name}
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        if sent.method == "DELETE" or sent.path.endswith("/logout"):
            values |= await _tenant(http)
        response = await _respond(http, sent, values)

    assert row.see(response) == row.now, response.text


@pytest.mark.parametrize("row", [pytest.param(row, id=row.what) for row in ROWS])
def test_row_has_a_reason_if_and_only_if_its_answers_differ(row: Row) -> None:
    first, now = row.first.split(",")[0], row.now
    differ = first != now and not now.startswith(f"{first} `")  # the first version had no codes

    assert differ == bool(row.why)


def test_page_lists_each_difference_with_its_reason() -> None:
    lines = PAGE.read_text().splitlines()
    start = lines.index(HEAD) + 2
    table = lines[start : lines.index("", start)]

    assert table == [f"| {row.what} | {row.first} | {row.now} | {row.why} |" for row in ROWS if row.why]


def test_page_states_how_many_requests_of_the_specs_differ() -> None:
    specs = [row for row in ROWS if row.spec]
    requests = {repr(sent) for row in specs for sent in row.sent}
    differing = {repr(sent) for row in specs for sent in row.sent if row.why}

    assert f"{len(requests)} different requests, of which {len(differing)} get another answer" in " ".join(
        PAGE.read_text().split()
    )
