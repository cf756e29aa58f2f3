"""Forged tokens of every kind, at every route that takes a token."""

import base64
import json
import secrets
from typing import Any

import httpx
import jwt
import pytest

from tests.e2e.tenant import Tenant

#: More digits than Python converts to an integer.
HUGE_NUMBER = b'{"alg": ' + b"9" * 9000 + b"}"


def _encode(part: Any) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _forgeries(token: str) -> dict[str, str]:
    """Return variations of a live token by an attacker without the key."""
    header, payload, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    real = jwt.get_unverified_header(token)
    key = secrets.token_bytes(64)
    return {
        "alg none": f"{_encode({**real, 'alg': 'none'})}.{payload}.",
        "alg none, no header id": jwt.encode(claims, None, algorithm="none"),
        "other alg": jwt.encode(claims, key, "HS512", headers=real | {"alg": "HS512"}),
        "wrong key": jwt.encode(claims, key, "HS256", headers=real),
        "empty key": f"{header}.{payload}.{_encode(b'')}",
        "changed claims": f"{header}.{_encode(claims | {'login': 'admin'})}.{signature}",
        "stretched exp": f"{header}.{_encode(claims | {'exp': claims['exp'] + 10**6})}.{signature}",
        "other typ": f"{_encode(real | {'typ': 'JWT'})}.{payload}.{signature}",
        "crit": f"{_encode(real | {'crit': ['exp']})}.{payload}.{signature}",
        "unknown session": jwt.encode(claims, key, "HS256", headers=real | {"kid": secrets.token_urlsafe(24)}),
        "kid is an object": f"{_encode(real | {'kid': {'$gt': ''}})}.{payload}.{signature}",
        "kid is a list": f"{_encode(real | {'kid': ['a']})}.{payload}.{signature}",
        "alg is an object": f"{_encode(real | {'alg': {}})}.{payload}.{signature}",
        "header is a list": f"{_encode([real])}.{payload}.{signature}",
        "header is deep": f"{_encode(b'[' * 9000)}.{payload}.{signature}",
        "header has a huge number": f"{_encode(HUGE_NUMBER)}.{payload}.{signature}",
        "header has half a character": f"{_encode(real | {'kid': chr(0xD800)})}.{payload}.{signature}",
        "payload is not JSON": f"{header}.{_encode(b'nonsense')}.{signature}",
        "cut": token[:-10],
        "too many parts": f"{token}.{signature}",
        "no parts": "....",
        "text": "nonsense",
        "huge": "a" * 100_000,
        "huge parts": f"{header}.{'a' * 50_000}.{signature}",
    }


@pytest.fixture
async def forgeries(tenant: Tenant) -> dict[str, str]:
    await tenant.create("victim")
    return _forgeries(await tenant.token_of("victim"))


async def test_forged_user_token_at_verify_and_logout_is_400(tenant: Tenant, forgeries: dict[str, str]) -> None:
    for name, forgery in forgeries.items():
        for answer in (await tenant.verify(forgery), await tenant.logout(forgery)):
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid token"), name


async def test_forged_tenant_token_is_401_in_the_header_and_400_in_a_body(
    tenant: Tenant, http: httpx.AsyncClient
) -> None:
    for name, forgery in _forgeries(tenant.token).items():
        if len(forgery) < 60_000:  # the HTTP server refuses longer headers itself
            impostor = Tenant(http, tenant.id, tenant.email, forgery)
            refused = await impostor.call("GET", "/user")
            assert refused.status_code == 401, name
            assert "WWW-Authenticate" in refused.headers
        assert (await http.post("/tenant/verify", json={"token": forgery})).status_code == 400, name


@pytest.mark.parametrize("token", [{"$gt": ""}, ["a"], 1, True, None, "", {"a": {"b": []}}], ids=json.dumps)
async def test_token_that_is_no_string_is_422_and_names_the_field(tenant: Tenant, token: Any) -> None:
    for path in ("/auth/verify", "/auth/logout", "/tenant/verify", "/tenant/logout"):
        answer = await tenant.call("POST", path, json={"token": token})
        assert answer.status_code == 422, path
        assert [problem["field"] for problem in answer.json()["errors"]] == ["token"]
