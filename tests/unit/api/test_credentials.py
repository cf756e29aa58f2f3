"""Credentials that are none: refused as such, whatever they consist of."""

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
async def test_credentials_that_cannot_be_read(edge: httpx.AsyncClient, rpc: FakeRpc, path: str, given: str) -> None:
    """What is no pair of Basic and no Bearer token is a 401, with the challenge of its scheme, or of both."""
    headers = {"Authorization": given.encode()}
    response = await edge.post(path, data={"token": "t"}, headers=headers)  # type: ignore[arg-type]

    assert (response.status_code, response.json()["code"]) == (401, "invalid_tenant_token")
    expected = {"basic": ["Basic"], "bearer": ["Bearer"]}.get(given.partition(" ")[0].lower(), ["Bearer", "Basic"])
    assert re.findall(r"(?:^|, )(\w+) realm=", response.headers["WWW-Authenticate"]) == expected
    assert rpc.calls == []
