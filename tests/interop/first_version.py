"""Requests to the first Jincor Auth with its answers, from its HTTP specs and source, and the answers of this one.

The source is the public repository of the first version. `Row.spec` marks the requests of its specs.
Their passwords of four and six characters are too short now, so most requests here use a longer one.
docs/coming-from-v1.md shows the rows that have a reason.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

#: Valid in both versions: the first one wanted letters and digits, and one of each kind.
PASSWORD = "Testing4Seasons"
JSON = {"Accept": "application/json"}
#: Values that a request names in braces, such as `{tenant_token}`.
AS_TENANT = {**JSON, "Authorization": "Bearer {tenant_token}"}


@dataclass(frozen=True)
class Sent:
    """A request. Texts in braces are values of the test's own tenant."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=lambda: AS_TENANT)


def status(response: httpx.Response) -> str:
    """Return the status and, if there is one, the error code."""
    code = "" if response.is_success else f" `{response.json()['code']}`"
    return f"{response.status_code}{code}"


@dataclass(frozen=True)
class Row:
    """Requests that both versions answer alike, and the two answers."""

    what: str
    first: str
    now: str
    sent: tuple[Sent, ...]
    why: str = ""
    """Why the answers differ; empty if they do not."""
    spec: bool = True
    """Whether the first version's specs make these requests; else its source shows its answer."""
    see: Callable[[httpx.Response], str] = status
    """Return the compared part of a response."""


def post(path: str, **body: Any) -> Sent:
    return Sent("POST", path, body)


def without(path: str, *names: str, **body: Any) -> tuple[Sent, ...]:
    """Return requests that each lack one of these members."""
    return tuple(post(path, **{key: value for key, value in body.items() if key != name}) for name in names)


def header(name: str) -> Callable[[httpx.Response], str]:
    return lambda response: f"`{response.headers[name]}`" if name in response.headers else "absent"


def users(response: httpx.Response) -> str:
    return f"{len(response.json()['users'])} found"


def members_of_users(response: httpx.Response) -> str:
    return ", ".join(f"`{name}`" for name in sorted(response.json()["users"][0]))


def type_of_error(response: httpx.Response) -> str:
    return f"`error` is {'text' if isinstance(response.json()['error'], str) else 'an object'}"


def seconds_since_epoch(response: httpx.Response) -> str:
    return "seconds" if response.json()["decoded"]["iat"] < 10**11 else "milliseconds"


def audience(response: httpx.Response) -> str:
    claims = response.json()["decoded"]
    return "the tenant's id" if claims["aud"] == claims["tenant"] else f"`{claims['aud']}`"


USER = {"email": "{new_email}", "login": "{new_login}", "password": PASSWORD, "sub": "123"}
LOGIN = {"login": "{login}", "password": PASSWORD, "deviceId": "test"}
CREDENTIALS = {"email": "{email}", "password": PASSWORD}

#: Requests that lack a member or hold an invalid one.
INVALID = (
    *without("/auth", "login", "password", "deviceId", **LOGIN),
    post("/auth/logout"),
    post("/auth/verify"),
    post("/tenant/logout"),
    post("/tenant/verify"),
    *without("/tenant", "email", "password", **CREDENTIALS),
    post("/tenant", email="test.test.com", password="test"),
    post("/tenant", email="{new_email}", password="test"),
    post("/tenant", email="{new_email}", password="test12"),
    *without("/tenant/login", "email", "password", **CREDENTIALS),
    post("/tenant/login", email="test.test.com", password="test"),
    *without("/user", "email", "login", "password", **USER),
    post("/user", **{**USER, "email": "test.test.com"}),
)

ROWS = (
    # Every response.
    Row("a path that does not exist", "404", "404 `route_not_found`", (Sent("GET", "/random", headers=JSON),)),
    Row(
        "no `Accept: application/json`",
        "406",
        "404 `route_not_found`",
        (Sent("GET", "/random", headers={"Accept": "*/*"}),),
        "the header is not checked, here for a path that does not exist",
    ),
    Row(
        "a POST without `Content-Type: application/json`",
        "406",
        "415 `unsupported_media_type`",
        (Sent("POST", "/tenant/verify", headers={**JSON, "Content-Type": "text/plain"}),),
        "HTTP has a status for it; parameters such as `; charset=utf-8` are allowed",
    ),
    Row(
        "the same for a path that does not exist",
        "406",
        "404 `route_not_found`",
        (Sent("POST", "/random", headers=JSON),),
        "the path is checked first",
    ),
    Row(
        "`X-Powered-By` of a response",
        "absent",
        "absent",
        (Sent("GET", "/random", headers=JSON),),
        see=header("X-Powered-By"),
    ),
    Row(
        "`X-Content-Type-Options` of a response",
        "`nosniff`",
        "`nosniff`",
        (Sent("GET", "/random", headers=JSON),),
        see=header("X-Content-Type-Options"),
    ),
    Row(
        "`X-Frame-Options` of a response",
        "`deny`",
        "absent",
        (Sent("GET", "/random", headers=JSON),),
        "`Content-Security-Policy` has `frame-ancestors 'none'`, which replaces it",
        see=header("X-Frame-Options"),
    ),
    Row(
        "`Content-Security-Policy` of a response",
        "`default-src 'none'`",
        "`default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox`",
        (Sent("GET", "/random", headers=JSON),),
        "the first forbade loading; this one also forbids forms, frames and scripts",
        see=header("Content-Security-Policy"),
    ),
    Row(
        "`Access-Control-Allow-Origin` of a response",
        "`*`",
        "absent",
        (Sent("GET", "/random", headers={**JSON, "Origin": "https://app.example"}),),
        "only the origins in `AUTH_CORS_ORIGINS` may call from browsers",
        spec=False,
        see=header("Access-Control-Allow-Origin"),
    ),
    Row(
        "`OPTIONS`",
        "200",
        "405 `method_not_allowed`",
        (Sent("OPTIONS", "/auth", headers=JSON),),
        "with `AUTH_CORS_ORIGINS`, preflight requests of these origins get 200",
        spec=False,
    ),
    Row(
        "`Content-Type` of an error",
        "`application/json; charset=utf-8`",
        "`application/problem+json`",
        (Sent("GET", "/random", headers=JSON),),
        "[RFC 9457](https://www.rfc-editor.org/rfc/rfc9457); the body is still JSON",
        spec=False,
        see=header("Content-Type"),
    ),
    Row(
        "a path with a slash at the end, or in capitals",
        "200",
        "404 `route_not_found`",
        (post("/tenant/login/", **CREDENTIALS), post("/Tenant/Login", **CREDENTIALS)),
        "each route has one path; only `/auth/` works with and without the slash",
        spec=False,
    ),
    Row(
        "an invalid body",
        "422",
        "422 `invalid_request`",
        INVALID,
    ),
    Row(
        "`error` of a 422",
        "`error` is an object",
        "`error` is text",
        INVALID,
        "`errors` lists each invalid field; the first version returned the whole body, passwords included",
        see=type_of_error,
    ),
    # The tenant token.
    Row(
        "a missing or invalid tenant token",
        "401",
        "401 `invalid_tenant_token`",
        (
            Sent("GET", "/user", headers=JSON),
            Sent("GET", "/user", headers={**JSON, "Authorization": "Something"}),
            Sent("GET", "/user", headers={**JSON, "Authorization": "Bearer token"}),
            Sent("GET", "/user", headers={**JSON, "Authorization": "Bearer {user_token}"}),
        ),
    ),
    Row(
        "`Authorization: bearer …` in lower case",
        "401",
        "200",
        (Sent("GET", "/user", headers={**JSON, "Authorization": "bearer {tenant_token}"}),),
        "the name of a scheme has no case (RFC 9110, 11.1)",
        spec=False,
    ),
    # Tenants.
    Row("`POST /tenant`", "200", "200", (post("/tenant", email="{new_email}", password=PASSWORD),)),
    Row(
        "`POST /tenant` with a password of six or seven characters",
        "200",
        "422 `invalid_request`",
        (post("/tenant", email="{new_email}", password="testA6"),),
        "eight characters or more",
    ),
    Row(
        "`POST /tenant` with a password without capitals or digits",
        "422",
        "200",
        (post("/tenant", email="{new_email}", password="correct horse battery"),),
        "length counts, kinds of characters do not",
        spec=False,
    ),
    Row(
        "`POST /tenant` with an email that is taken",
        "400",
        "409 `email_taken`",
        (post("/tenant", email="{email}", password=PASSWORD),),
        "a code of its own",
    ),
    Row(
        "`POST /tenant` from an address that may not register",
        "403",
        "403 `registration_forbidden`",
        (Sent("POST", "/tenant", CREDENTIALS, {**JSON, "X-Forwarded-For": "203.0.113.9"}),),
    ),
    Row("`POST /tenant/login`", "200", "200", (post("/tenant/login", **CREDENTIALS),)),
    Row(
        "`POST /tenant/login` with a wrong password or an unknown email",
        "500, two texts",
        "403 `invalid_credentials`",
        (
            post("/tenant/login", email="{email}", password="testA61"),
            post("/tenant/login", email="{new_email}", password="testA6"),
        ),
        "it is no fault of the server, and strangers must not find out which tenants exist",
    ),
    Row(
        "`POST /tenant/login` with a password that cannot be one",
        "422",
        "403 `invalid_credentials`",
        (
            post("/tenant/login", email="{email}", password="test"),
            post("/tenant/login", email="{email}", password="test12"),
        ),
        "the password is wrong; older tenants may have passwords that break today's rules",
    ),
    Row("`POST /tenant/verify`", "200", "200", (post("/tenant/verify", token="{tenant_token}"),)),
    Row("`POST /tenant/logout`", "200", "200", (post("/tenant/logout", token="{tenant_token}"),)),
    Row(
        "`POST /tenant/verify`, `/tenant/logout` with an invalid token",
        "400",
        "400 `invalid_token`",
        (post("/tenant/verify", token="{tenant_token}1"), post("/tenant/logout", token="{tenant_token}1")),
    ),
    Row(
        "`POST /tenant/verify`, `/tenant/logout` with a user token",
        "200",
        "400 `invalid_token`",
        (post("/tenant/verify", token="{user_token}"), post("/tenant/logout", token="{user_token}")),
        "tokens of users and tenants are different kinds",
        spec=False,
    ),
    # Users.
    Row("`POST /user`", "200", "200", (post("/user", **USER),)),
    Row("`POST /user` with unknown members", "200", "200", (post("/user", **USER, employeeId="id"),)),
    Row(
        "`POST /user` with a password of less than eight characters",
        "200",
        "422 `invalid_request`",
        (post("/user", **{**USER, "password": "test"}),),
        "eight characters or more, not a common password, not the login or the email",
    ),
    Row(
        "`POST /user` without `sub`",
        "422",
        "200",
        without("/user", "sub", **USER),
        "`sub` becomes the user's id",
    ),
    Row(
        "`POST /user` with a login that exists",
        "200",
        "409 `login_taken`",
        (post("/user", **{**USER, "login": "{login}"}),),
        "the first version replaced the account and its password",
        spec=False,
    ),
    Row(
        "`POST /user` with a `scope` that is a list",
        "200",
        "422 `invalid_request`",
        (post("/user", **USER, scope=["admin", "settings:read"]),),
        'a string or an object: write `"admin settings:read"`',
        spec=False,
    ),
    Row(
        "`POST /user` with outer spaces or invisible characters in the login, or a login `tenant:…`",
        "200",
        "422 `invalid_request`",
        tuple(post("/user", **{**USER, "login": login}) for login in (" ada", "a\u200bda", "tenant:ada")),
        "`admin` and `admin ` look alike ([0031](decisions/0031-new-logins-are-nfc.md))",
        spec=False,
    ),
    Row(
        "`GET /user` of a tenant without users",
        "0 found",
        "0 found",
        (Sent("GET", "/user", headers={**JSON, "Authorization": "Bearer {empty_tenant_token}"}),),
        see=users,
    ),
    Row("`GET /user`, also with `cursor=0`", "200", "200", (Sent("GET", "/user"), Sent("GET", "/user?cursor=0"))),
    Row("`GET /user?q=` with a login", "1 found", "1 found", (Sent("GET", "/user?q={login}"),), see=users),
    Row(
        "`GET /user?q=` with a part of a login or an email",
        "0 found",
        "1 found",
        (Sent("GET", "/user?q={part}"),),
        "the first version looked up whole logins",
        spec=False,
        see=users,
    ),
    Row(
        "`GET /user?q=` with one or two characters",
        "422",
        "200",
        (Sent("GET", "/user?q=te"),),
        "a search costs no more than a page",
        spec=False,
    ),
    Row(
        "members of a user in `GET /user?q=`",
        "`email`, `id`, `lastActivity`, `login`, `password`, `registrationDate`, `sub`, `tenant`",
        "`email`, `id`, `lastActivity`, `login`, `registrationDate`, `scope`, `sub`, `tenant`",
        (Sent("GET", "/user?q={login}"),),
        "`password` was the hash; `scope` is null if there is none",
        spec=False,
        see=members_of_users,
    ),
    Row(
        "members of a user in `GET /user`",
        "`email`, `id`, `lastActivity`, `login`, `registrationDate`, `sub`",
        "`email`, `id`, `lastActivity`, `login`, `registrationDate`, `scope`, `sub`, `tenant`",
        (Sent("GET", "/user"),),
        "the same members everywhere",
        spec=False,
        see=members_of_users,
    ),
    Row("`DELETE /user/{login}`", "200", "200", (Sent("DELETE", "/user/{login}"),)),
    Row("`DELETE /user/{login}` of an unknown login", "404", "404 `user_not_found`", (Sent("DELETE", "/user/123"),)),
    Row("`DELETE /user/` without a login", "404", "404 `route_not_found`", (Sent("DELETE", "/user/"),)),
    # User tokens.
    Row("`POST /auth`", "200", "200", (post("/auth", **LOGIN),)),
    Row(
        "`POST /auth` with a wrong password",
        "403",
        "403 `invalid_credentials`",
        (post("/auth", **{**LOGIN, "password": "test1"}),),
    ),
    Row(
        "`POST /auth` with an unknown login",
        "404",
        "403 `invalid_credentials`",
        (post("/auth", **{**LOGIN, "login": "test:test"}),),
        "the same answer as for a wrong password: strangers must not find out which users exist",
    ),
    Row("`POST /auth/verify`", "200", "200", (post("/auth/verify", token="{user_token}"),)),
    Row("`POST /auth/logout`", "200", "200", (post("/auth/logout", token="{user_token}"),)),
    Row(
        "`POST /auth/verify`, `/auth/logout` with an invalid token",
        "400",
        "400 `invalid_token`",
        (post("/auth/verify", token="test"), post("/auth/logout", token="123")),
    ),
    Row(
        "`POST /auth/verify`, `/auth/logout` with another tenant's user token",
        "200",
        "400 `invalid_token`",
        (post("/auth/verify", token="{other_user_token}"), post("/auth/logout", token="{other_user_token}")),
        "tenants are isolated",
    ),
    Row(
        "`POST /auth/verify`, `/auth/logout` with a tenant token",
        "200",
        "400 `invalid_token`",
        (post("/auth/verify", token="{tenant_token}"), post("/auth/logout", token="{tenant_token}")),
        "tokens of users and tenants are different kinds",
        spec=False,
    ),
    Row(
        "`iat` and `exp` of a token",
        "milliseconds",
        "seconds",
        (post("/auth/verify", token="{user_token}"), post("/tenant/verify", token="{tenant_token}")),
        "RFC 7519; no library saw a token of the first version expire",
        spec=False,
        see=seconds_since_epoch,
    ),
    Row(
        "`aud` of a user token",
        "`jincor.com`",
        "the tenant's id",
        (post("/auth/verify", token="{user_token}"),),
        "an audience that a service can check",
        spec=False,
        see=audience,
    ),
    Row(
        "`aud` of a tenant token",
        "`jincor.com`",
        "`jincor-auth`",
        (post("/tenant/verify", token="{tenant_token}"),),
        "this service",
        spec=False,
        see=audience,
    ),
    Row(
        "`POST /auth/fb`, `/auth/vk`",
        "200",
        "404 `route_not_found`",
        (post("/auth/fb", code="1", redirect_uri="https://app.example"), post("/auth/vk", code="1")),
        "social logins are gone; the first version logged in any account whose login was the email that they reported",
        spec=False,
    ),
)
