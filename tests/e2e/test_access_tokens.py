"""Access tokens of API keys: from the token endpoint of one edge to requests at another."""

import httpx

from tests.e2e.tenant import Tenant
from tests.service import RunningService

GRANT = {"grant_type": "client_credentials"}


async def test_access_token_works_at_every_edge_until_its_key_is_revoked(
    service: RunningService, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    key_id, key = await tenant.create_key("users:read")
    issued = (await http.post("/oauth/token", data=GRANT, auth=(key_id, key))).json()
    bearer = {"Authorization": f"Bearer {issued['access_token']}"}
    async with httpx.AsyncClient(base_url=service.urls[1], timeout=30) as other:
        for edge in (http, other):
            assert (await edge.get("/user", headers=bearer)).status_code == 200
        assert (await tenant.call("DELETE", f"/keys/{key_id}")).status_code == 200
        for edge in (http, other):
            assert (await edge.get("/user", headers=bearer)).status_code == 401
            refused = await edge.post("/oauth/token", data=GRANT, auth=(key_id, key))
            assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


async def test_both_secrets_of_a_rotated_key_get_access_tokens_during_the_overlap(
    http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """The client id stays the same."""
    key_id, old = await tenant.create_key("users:read")
    new = (await tenant.call("POST", f"/keys/{key_id}/rotate", json={})).json()["apiKey"]
    for key in (old, new):
        assert (await http.post("/oauth/token", data=GRANT, auth=(key_id, key))).status_code == 200
    newest = (await tenant.call("POST", f"/keys/{key_id}/rotate", json={"overlapSeconds": 0})).json()["apiKey"]
    statuses = [(await http.post("/oauth/token", data=GRANT, auth=(key_id, key))).status_code for key in (old, newest)]
    assert statuses == [401, 200]
