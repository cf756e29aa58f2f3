"""OAuth 2.0 introspection (RFC 7662) and revocation (RFC 7009)."""

import httpx

from tests.e2e.tenant import Tenant


async def _post(tenant: Tenant, path: str, token: str, **arguments: object) -> httpx.Response:
    return await tenant.call("POST", path, data={"token": token, "token_type_hint": "access_token"}, **arguments)


async def test_introspection_of_an_active_token_has_only_standard_members(tenant: Tenant) -> None:
    user = (await tenant.create("ann", sub="s-1", scope="read write")).json()
    token = await tenant.token_of("ann")
    claims = (await tenant.verify(token)).json()["decoded"]
    answer = await _post(tenant, "/introspect", token)
    assert answer.json() == {
        "active": True,
        "scope": "read write",
        "client_id": tenant.id,
        "username": "ann",
        "token_type": "Bearer",
        **{name: claims[name] for name in ("exp", "iat", "sub", "aud", "iss", "jti")},
    }
    assert user["sub"] == "s-1"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_introspection_of_an_invalid_token_says_only_that_it_is_inactive(
    http: httpx.AsyncClient, tenant: Tenant
) -> None:
    other = await Tenant.register(http)
    await other.create("theirs")
    await tenant.create("mine", scope={"not": "a string"})
    dead, live = await tenant.token_of("mine"), await tenant.token_of("mine")
    await tenant.logout(dead)
    for token in (dead, live + "x", "nonsense", await other.token_of("theirs"), tenant.token):
        answer = await _post(tenant, "/introspect", token)
        assert (answer.status_code, answer.json()) == (200, {"active": False})
    assert "scope" not in (await _post(tenant, "/introspect", live)).json(), "the standard allows only strings"


async def test_revocation_of_any_user_token_succeeds_and_is_idempotent(tenant: Tenant) -> None:
    """An invalid token gets the same answer; a tenant token is not supported (RFC 7009, 2.2.1)."""
    await tenant.create("ann")
    token = await tenant.token_of("ann")
    for each in (token, token, "nonsense"):
        assert (await _post(tenant, "/revoke", each)).status_code == 200
    refused = await _post(tenant, "/revoke", tenant.token)
    assert (refused.status_code, refused.json()["error"]) == (400, "unsupported_token_type")
    assert (await tenant.verify(token)).status_code == 400
    assert (await tenant.call("GET", "/user")).status_code == 200, "a tenant token cannot be revoked here"


async def test_revocation_of_another_tenants_token_changes_nothing(http: httpx.AsyncClient, tenant: Tenant) -> None:
    other = await Tenant.register(http)
    await other.create("theirs")
    token = await other.token_of("theirs")
    assert (await _post(tenant, "/revoke", token)).status_code == 200
    assert (await other.verify(token)).status_code == 200


async def test_introspection_accepts_the_tenant_token_as_basic_password(
    http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Missing or wrong credentials are answered 401."""
    await tenant.create("ann")
    form = {"token": await tenant.token_of("ann")}
    good = await http.post("/introspect", data=form, auth=("gateway", tenant.token))
    assert good.json()["active"] is True
    assert (await http.post("/introspect", data=form)).status_code == 401
    bad = await http.post("/introspect", data=form, auth=("gateway", "nonsense"))
    assert (bad.status_code, bad.json()["error"], bad.headers["WWW-Authenticate"][:6]) == (
        401,
        "invalid_client",
        "Basic ",
    )


async def test_malformed_form_is_refused_by_field(tenant: Tenant) -> None:
    """A JSON body is answered 415. The error codes are those of RFC 6749, 5.2."""
    assert (await tenant.call("POST", "/introspect", json={"token": "x"})).status_code == 415
    for form in ({"other": "x"}, {"token": ["x", "x"]}):
        refused = await tenant.call("POST", "/revoke", data=form)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
        assert [problem["field"] for problem in refused.json()["errors"]] == ["token"]
