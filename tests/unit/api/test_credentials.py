"""Malformed credentials."""

import re

import httpx
import pytest

from tests.unit.api.fake_rpc import FakeRpc


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
@pytest.mark.parametrize(
    "given",
    [
        "Basic !",
        "Basic",
        "Basic Og",
        "Basic Og==",
        "Basic YW5uOg==",
        "Basic /w==",
        "Basic YW5u",
        "basic é",
        "Bearer",
        "Digest x",
    ],
)
async def test_malformed_credentials_are_answered_401_with_a_challenge(
    edge: httpx.AsyncClient, rpc: FakeRpc, path: str, given: str
) -> None:
    """The challenge names the scheme that the client used, or both schemes."""
    headers = {"Authorization": given.encode()}
    response = await edge.post(path, data={"token": "t"}, headers=headers)  # type: ignore[arg-type]

    assert (response.status_code, response.json()["code"]) == (401, "invalid_tenant_token")
    expected = {"basic": ["Basic"], "bearer": ["Bearer"]}.get(given.partition(" ")[0].lower(), ["Bearer", "Basic"])
    assert re.findall(r"(?:^|, )(\w+) realm=", response.headers["WWW-Authenticate"]) == expected
    assert rpc.calls == []
