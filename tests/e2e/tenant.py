"""A tenant and its requests over HTTP."""

import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Tenant:
    """A registered tenant with a token. Calls return the response, whatever its status."""

    http: httpx.AsyncClient
    id: str
    email: str
    token: str = field(repr=False)

    @classmethod
    async def register(cls, http: httpx.AsyncClient) -> "Tenant":
        email = f"{uuid.uuid4().hex[:12]}@tenant.test"
        response = await http.post("/tenant", json={"email": email, "password": PASSWORD})
        assert response.status_code == 200, response.text
        return cls(http, response.json()["id"], email, response.json()["token"])

    def through(self, http: httpx.AsyncClient) -> "Tenant":
        """Return the same tenant with another edge."""
        return Tenant(http, self.id, self.email, self.token)

    async def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.http.request(method, path, headers=headers, **arguments)

    async def create(self, login: str, **attributes: Any) -> httpx.Response:
        body = {"email": "user@users.test", "login": login, "password": PASSWORD, **attributes}
        return await self.call("POST", "/user", json=body)

    async def login(self, login: str, password: str = PASSWORD, device: str = "phone") -> httpx.Response:
        return await self.call("POST", "/auth", json={"login": login, "password": password, "deviceId": device})

    async def token_of(self, login: str, device: str = "phone") -> str:
        response = await self.login(login, device=device)
        assert response.status_code == 200, response.text
        return str(response.json()["accessToken"])

    async def create_key(self, *permissions: str, **attributes: Any) -> tuple[str, str]:
        """Return the id of a new API key with these permissions, and the key."""
        body = {"name": "gateway", "permissions": permissions, **attributes}
        response = await self.call("POST", "/keys", json=body)
        assert response.status_code == 200, response.text
        return response.json()["key"]["id"], response.json()["apiKey"]

    async def verify(self, token: str) -> httpx.Response:
        return await self.call("POST", "/auth/verify", json={"token": token})

    async def logout(self, token: str) -> httpx.Response:
        return await self.call("POST", "/auth/logout", json={"token": token})

    async def key(self, *permissions: str) -> str:
        """Create an API key with these permissions, and return it."""
        response = await self.call("POST", "/keys", json={"name": "test", "permissions": permissions})
        assert response.status_code == 200, response.text
        return str(response.json()["apiKey"])

    def path(self, login: str, *rest: str) -> str:
        return "/".join(["/user", quote(login, safe=""), *rest])
