"""The main workflow over HTTP, as clients of the first Jincor Auth use it."""

import httpx

from tests.e2e.tenant import PASSWORD, Tenant


async def test_tenant_registers_logs_in_verifies_and_logs_out_over_the_first_api(http: httpx.AsyncClient) -> None:
    credentials = {"email": "Main@Tenant.Test", "password": PASSWORD}
    registered = await http.post("/tenant", json=credentials)
    assert registered.status_code == 200
    assert registered.json().keys() == {"id", "email", "login", "token"}
    assert registered.json()["login"] == "tenant:main@tenant.test"

    logged_in = await http.post("/tenant/login", json=credentials)
    assert logged_in.status_code == 200
    token = logged_in.json()["token"]

    decoded = (await http.post("/tenant/verify", json={"token": token})).json()["decoded"]
    assert decoded["isTenant"] is True
    assert decoded["id"] == registered.json()["id"]
    assert decoded["exp"] > decoded["iat"] > 1_600_000_000
    assert decoded["exp"] < 10_000_000_000, "seconds, not milliseconds"

    assert (await http.post("/tenant/logout", json={"token": token})).json() == {"result": 1}
    refused = await http.post("/tenant/verify", json={"token": token})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid token")


async def test_user_is_created_logs_in_and_is_deleted_over_the_first_api(tenant: Tenant) -> None:
    created = await tenant.create("emp_dev", sub="123", scope={"admin": True})
    assert created.status_code == 200
    user = created.json()
    assert user.keys() == {"id", "login", "email", "tenant", "scope", "sub", "registrationDate", "lastActivity"}
    assert (user["tenant"], user["sub"], user["scope"]) == (tenant.id, "123", {"admin": True})
    assert user["registrationDate"] > 1_600_000_000_000, "milliseconds"

    logged_in = await tenant.call("POST", "/auth/", json={"login": "emp_dev", "password": PASSWORD, "deviceId": "d"})
    assert logged_in.json().keys() == {"accessToken"}
    token = logged_in.json()["accessToken"]

    decoded = (await tenant.verify(token)).json()["decoded"]
    expected = {"id": user["id"], "login": "emp_dev", "tenant": tenant.id, "sub": "123", "deviceId": "d"}
    assert expected.items() <= decoded.items()
    assert decoded.keys() == {*expected, "iss", "aud", "iat", "exp", "jti", "scope"}

    assert (await tenant.logout(token)).json() == {"result": 1}
    assert (await tenant.verify(token)).status_code == 400
    assert (await tenant.logout(token)).status_code == 400

    token = await tenant.token_of("emp_dev")
    assert (await tenant.call("DELETE", tenant.path("emp_dev"))).json() == {"result": 1}
    assert (await tenant.verify(token)).status_code == 400, "deleting a user revokes its sessions"
    assert (await tenant.call("DELETE", tenant.path("emp_dev"))).status_code == 404
