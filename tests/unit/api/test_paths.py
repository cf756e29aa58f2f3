"""Logins in paths: any printable character, percent-encoded."""

from urllib.parse import quote

import httpx
import pytest
from yarl import URL

from tests.unit.api.fake_rpc import FakeRpc

TENANT = {"Authorization": "Bearer tenant-token"}


async def send(edge: httpx.AsyncClient, method: str, raw_path: bytes) -> httpx.Response:
    """Send a path unchanged; httpx would normalize some of them."""
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
async def test_percent_encoded_login_in_a_path_is_decoded(edge: httpx.AsyncClient, rpc: FakeRpc, login: str) -> None:
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
async def test_unusual_escapes_in_a_path_give_the_same_login(
    edge: httpx.AsyncClient, rpc: FakeRpc, segment: bytes, login: str
) -> None:
    """Needless, missing and lower-case escapes are accepted."""
    await send(edge, "DELETE", b"/user/" + segment)

    assert rpc.calls[0].request["login"] == login


@pytest.mark.parametrize("login", [".", ".."])
async def test_new_login_that_paths_cannot_hold_is_answered_422(
    edge: httpx.AsyncClient, rpc: FakeRpc, login: str
) -> None:
    """Most clients resolve dot segments, and would name another user or none."""
    assert URL(f"http://edge/user/{login.replace('.', '%2E')}/sessions").raw_path != f"/user/{login}/sessions"

    body = {"login": login, "email": "ada@example.com", "password": "correct horse battery"}
    response = await edge.post("/user", json=body, headers=TENANT)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    [refused] = response.json()["errors"]
    assert refused == {"field": "login", "message": "must not be `.` or `..`: URLs cannot contain them"}
    assert rpc.calls == []


async def test_percent_encoded_route_is_found(edge: httpx.AsyncClient) -> None:
    assert (await send(edge, "GET", b"/%75ser")).status_code == 200


@pytest.mark.parametrize("segment", [b"%FF", b"%C3", b"%00", b"a%0Ab", b"%ED%A0%80", b"x" * 257])
async def test_invalid_login_in_a_path_is_answered_422_with_its_field(
    edge: httpx.AsyncClient, rpc: FakeRpc, segment: bytes
) -> None:
    """Invalid means not UTF-8, not printable or too long."""
    response = await send(edge, "DELETE", b"/user/" + segment)

    assert response.status_code == 422
    assert [each["field"] for each in response.json()["errors"]] == ["login"]
    assert rpc.calls == []
