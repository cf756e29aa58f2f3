"""Logins in paths: any printable character, percent-encoded."""

from urllib.parse import quote

import httpx
import pytest
from yarl import URL

from tests.unit.api.fake_rpc import FakeRpc

TENANT = {"Authorization": "Bearer tenant-token"}


async def send(edge: httpx.AsyncClient, method: str, raw_path: bytes) -> httpx.Response:
    """Sends a path as it stands: httpx itself would spell some of them anew."""
    url = httpx.URL("http://edge").copy_with(raw_path=raw_path)
    return await edge.send(httpx.Request(method, url, headers=TENANT))


@pytest.mark.parametrize(
    "login",
    [
        "ada",
        "a/b",
        "/",
        "//",
        "100%",
        "%2F",
        "a b",
        "ä€😀",
        "...",
        ".a",
        "sessions",
        "a/sessions",
        "?q=1",
        "#",
        "+",
        ";,:@&=",
    ],
)
async def test_login_in_a_path(edge: httpx.AsyncClient, rpc: FakeRpc, login: str) -> None:
    """Whatever characters a login has, encoded in a path it is that login."""
    segment = quote(login, safe="").encode()
    assert (await send(edge, "DELETE", b"/user/" + segment)).status_code == 200
    assert (await send(edge, "GET", b"/user/" + segment)).status_code == 200
    assert (await send(edge, "GET", b"/user/" + segment + b"/sessions")).status_code == 200
    assert (await send(edge, "DELETE", b"/user/" + segment + b"/sessions/" + segment)).status_code == 200

    assert [call.operation for call in rpc.calls] == ["user.delete", "user.get", "session.list", "session.revoke"]
    assert [call.request["login"] for call in rpc.calls] == [login] * 4
    assert rpc.calls[3].request["sessionId"] == login


@pytest.mark.parametrize(
    ("segment", "login"),
    [(b"%61%64%61", "ada"), (b"a%2fb", "a/b"), (b"%c3%a4", "ä"), (b"50%", "50%"), (b"a+b", "a+b")],
)
async def test_other_spellings(edge: httpx.AsyncClient, rpc: FakeRpc, segment: bytes, login: str) -> None:
    """Needless, missing and lower-case escapes spell the same login."""
    await send(edge, "DELETE", b"/user/" + segment)

    assert rpc.calls[0].request["login"] == login


@pytest.mark.parametrize("login", [".", ".."])
async def test_a_login_that_paths_cannot_hold(edge: httpx.AsyncClient, rpc: FakeRpc, login: str) -> None:
    """Most clients would name another user, or none: nobody new gets it, and the answer names the field."""
    assert URL(f"http://edge/user/{login.replace('.', '%2E')}/sessions").raw_path != f"/user/{login}/sessions"

    body = {"login": login, "email": "ada@example.com", "password": "correct horse battery"}
    response = await edge.post("/user", json=body, headers=TENANT)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    [refused] = response.json()["errors"]
    assert refused == {"field": "login", "message": "must not be `.` or `..`: URLs cannot contain them"}
    assert rpc.calls == []


async def test_encoded_route(edge: httpx.AsyncClient) -> None:
    """A route is found in any spelling."""
    assert (await send(edge, "GET", b"/%75ser")).status_code == 200


@pytest.mark.parametrize("segment", [b"%FF", b"%C3", b"%00", b"a%0Ab", b"%ED%A0%80", b"x" * 257])
async def test_bad_login(edge: httpx.AsyncClient, rpc: FakeRpc, segment: bytes) -> None:
    """A login that is not UTF-8, not printable or too long gives 422 and its name."""
    response = await send(edge, "DELETE", b"/user/" + segment)

    assert response.status_code == 422
    assert [each["field"] for each in response.json()["errors"]] == ["login"]
    assert rpc.calls == []
