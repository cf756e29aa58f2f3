"""Requests with two `Authorization` headers: a proxy or an application may have read the other one."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.unit.api.conftest import OpenEdge
from tests.unit.api.fake_rpc import FakeRpc
from tests.unit.api.test_routes import ROUTES, TENANT

TIMEOUT_SECONDS = 30
TOKEN = ("Authorization", "Bearer live")
OTHERS = [
    ("Authorization", "Bearer other"),
    ("Authorization", "Basic YTpi"),
    ("authorization", ""),
    TOKEN,
]
#: Valid for each route.
BODY = {
    "login": "ada",
    "email": "a@b",
    "password": "long enough",
    "deviceId": "d",
    "token": "t",
    "currentPassword": "x",
}


@pytest.fixture
async def forwarding(open_edge: OpenEdge) -> AsyncIterator[httpx.AsyncClient]:
    async with open_edge(forward_email="shop@example.com", forward_password="p") as edge:
        yield edge


@pytest.mark.parametrize("other", OTHERS, ids=str)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *sorted({(route.method, route.path) for route in ROUTES if route.headers == TENANT}),
        ("GET", "/events"),
        ("GET", "/auth/forward"),
        ("POST", "/auth/forward/page"),
    ],
)
async def test_two_authorization_headers_are_answered_401_as_none(
    forwarding: httpx.AsyncClient, rpc: FakeRpc, method: str, path: str, other: tuple[str, str]
) -> None:
    for headers in ([TOKEN, other], [other, TOKEN]):
        async with asyncio.timeout(TIMEOUT_SECONDS):  # an accepted event stream never ends
            response = await forwarding.request(method, path, headers=headers, json=BODY)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="jincor-auth"'
    assert rpc.calls == []


async def test_two_authorization_headers_with_the_registration_key_act_by_the_key(
    edge: httpx.AsyncClient, rpc: FakeRpc
) -> None:
    headers = [TOKEN, OTHERS[0], ("X-Registration-Key", "the key")]
    response = await edge.post("/tenant/disable", headers=headers, json={"email": "shop@example.com"})
    assert response.status_code == 200
    assert "tenantToken" not in rpc.calls[0].request
