"""Client authentication (RFC 6749, 2.3): each way to send the secret, and attacks.

At `/oauth/token`, `/introspect` and `/revoke`.
"""

import base64
import re
from urllib.parse import quote_plus, urlencode

import httpx
import pytest

from api.examples import KEY_ID
from shared.contracts.errors import UnsupportedTokenType
from tests.unit.api.conftest import OpenEdge
from tests.unit.api.fake_rpc import FakeRpc

#: A token with each kind of character that a JWT holds.
SECRET = "eyJh-bGci_Oi.Yx0_-9.Zz-_7"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
#: RFC 6749, 5.2: printable ASCII without `"` and `\\`.
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")

#: A form that each path accepts: it ignores what it does not know.
ASKED = {"token": "t", "grant_type": "client_credentials"}
#: Always the same, because parameters of tests contain it.
KEY = "jak_0VfKe3RtQ8mLz2Xb9WsYcA8shsU04xtKPy9EMFO9ZjNMu5s3Ne8jgMxYlThGAme5Y2zAw4G"

paths = pytest.mark.parametrize("path", ["/introspect", "/revoke", "/oauth/token"])


def basic(password: str, user: str = "gateway") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def sent_secret(rpc: FakeRpc) -> str:
    """Return the tenant token of the only request to a worker."""
    (call,) = rpc.calls
    return str(call.request["checks"][0]["tenantToken"] if "checks" in call.request else call.request["tenantToken"])


def percent_encoded(text: str) -> str:
    """Return the text with every character encoded, as openid-client does with `-`, `.` and `_`."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


@paths
@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        (f"Bearer {SECRET}", {}),
        (basic(SECRET), {}),
        (basic(percent_encoded(SECRET), user=quote_plus("a:b c")), {}),
        (None, {"client_id": "gateway", "client_secret": SECRET}),
        (None, {"client_secret": SECRET}),
        (basic(SECRET), {"client_id": "other", "client_secret": SECRET}),
        (basic(percent_encoded(SECRET)), {"client_secret": SECRET}),
        (f"Bearer {SECRET}", {"client_secret": SECRET}),
        (basic(SECRET), {"client_id": "", "client_secret": "", "token_type_hint": ""}),
        (basic(SECRET), {"token_type_hint": "refresh_token", "resource": ["a", "b"], "client_assertion": "x"}),
        ("Negotiate x", {"client_secret": SECRET}),
    ],
    ids=[
        "bearer",
        "basic",
        "basic encoded",
        "post",
        "post without id",
        "basic and post",
        "basic encoded and post",
        "bearer and post",
        "empty parameters",
        "unknown parameters",
        "unknown scheme and post",
    ],
)
async def test_client_secret_sent_in_any_way_reaches_the_worker(
    edge: httpx.AsyncClient, rpc: FakeRpc, path: str, authorization: str | None, form: dict[str, str | list[str]]
) -> None:
    """A parameter without a value is absent, and an unknown one is ignored (RFC 6749, 3.2)."""
    headers = {"Authorization": authorization} if authorization else {}
    response = await edge.post(path, data={**ASKED, **form}, headers=headers)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert sent_secret(rpc) == SECRET


@paths
@pytest.mark.parametrize(
    ("field", "form", "headers"),
    [
        ("client_secret", "client_secret=other", {"Authorization": f"Bearer {SECRET}"}),
        ("client_secret", "client_secret=other", {"Authorization": basic(SECRET)}),
        ("client_secret", f"client_secret={SECRET}", {"Authorization": basic("")}),
        ("client_secret", f"client_secret={SECRET}&client_secret={SECRET}", {}),
        ("client_secret", f"client_secret={SECRET}&client_secret=", {}),
        ("client_id", f"client_secret={SECRET}&client_id=a&client_id=b", {}),
    ],
)
async def test_client_that_sends_different_or_repeated_values_is_refused(
    edge: httpx.AsyncClient, path: str, field: str, form: str, headers: dict[str, str]
) -> None:
    """RFC 6749, 2.3: one method a request; 3.2: no parameter twice."""
    response = await edge.post(path, content=f"{urlencode(ASKED)}&{form}", headers={**FORM, **headers})

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert [problem["field"] for problem in response.json()["errors"]] == [field]
    assert SECRET not in response.text


@paths
async def test_authorization_header_sent_twice_is_an_invalid_request(
    edge: httpx.AsyncClient, rpc: FakeRpc, path: str
) -> None:
    """A gateway might have checked the other one."""
    headers = [("Authorization", f"Bearer {SECRET}"), ("Authorization", basic(SECRET))]
    response = await edge.post(path, data=ASKED, headers=headers)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert [problem["field"] for problem in response.json()["errors"]] == ["Authorization"]
    assert rpc.calls == []


@paths
@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        (f"Bearer {KEY}", {}),
        (basic(KEY, user=KEY_ID), {}),
        (basic(percent_encoded(KEY), user=percent_encoded(KEY_ID)), {}),
        (None, {"client_id": KEY_ID, "client_secret": KEY}),
        (None, {"client_secret": KEY}),
        (basic(KEY, user=KEY_ID), {"client_id": KEY_ID, "client_secret": KEY}),
        (basic(KEY, user=KEY_ID), {"client_id": "", "client_secret": ""}),
    ],
    ids=["bearer", "basic", "basic encoded", "post", "post without id", "basic and post", "empty parameters"],
)
async def test_api_key_with_its_own_id_as_client_id_reaches_the_worker(
    edge: httpx.AsyncClient, rpc: FakeRpc, path: str, authorization: str | None, form: dict[str, str]
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    response = await edge.post(path, data={**ASKED, **form}, headers=headers)

    assert response.status_code == 200
    assert sent_secret(rpc) == KEY


@paths
@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        (basic(KEY, user="gateway"), {}),
        (basic(KEY, user=""), {}),
        (basic(KEY, user=KEY_ID.lower()), {}),
        (None, {"client_id": "gateway", "client_secret": KEY}),
        (basic(KEY, user=KEY_ID), {"client_id": "gateway"}),
        (basic(KEY, user="gateway"), {"client_id": KEY_ID}),
        (f"Bearer {KEY}", {"client_id": "gateway"}),
    ],
)
async def test_client_id_that_is_not_the_id_of_the_api_key_is_an_invalid_client(
    edge: httpx.AsyncClient, rpc: FakeRpc, path: str, authorization: str | None, form: dict[str, str]
) -> None:
    """Refused by the edge: the id is part of the key's text."""
    headers = {"Authorization": authorization} if authorization else {}
    response = await edge.post(path, data={**ASKED, **form}, headers=headers)

    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.json()["error_description"] == "client_id must be the id of the API key"
    assert KEY not in response.text
    assert rpc.calls == []


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_token_type_hint_sent_twice_is_refused(edge: httpx.AsyncClient, path: str) -> None:
    form = {**ASKED, "client_secret": SECRET, "token_type_hint": ["a", "a"]}
    response = await edge.post(path, data=form)

    assert [problem["field"] for problem in response.json()["errors"]] == ["token_type_hint"]


@pytest.mark.parametrize("secret", ["s" * 100_000, percent_encoded("\0" * 30_000), "%FF%FE", "\u00e9"])
async def test_client_secret_that_cannot_be_a_token_is_an_invalid_client(edge: httpx.AsyncClient, secret: str) -> None:
    """Whatever its length and characters: refused before a worker is asked, with a challenge."""
    response = await edge.post("/introspect", content=f"token=t&client_secret={secret}".encode(), headers=FORM)

    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="jincor-auth", Basic realm="jincor-auth"'


async def test_revoking_a_token_type_that_is_not_supported_has_the_error_of_the_standard(
    edge: httpx.AsyncClient, rpc: FakeRpc
) -> None:
    """RFC 7009, 2.2.1."""
    rpc.answers["token.revoke"] = UnsupportedTokenType()
    response = await edge.post("/revoke", data={"token": "t", "client_secret": SECRET})

    document = response.json()
    assert (response.status_code, response.headers["Content-Type"]) == (400, "application/json")
    assert (document["error"], document["code"]) == ("unsupported_token_type", "unsupported_token_type")
    assert document["error_description"] == UnsupportedTokenType.text


@paths
@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("", "application/x-www-form-urlencoded"),
        ("token=", "application/x-www-form-urlencoded"),
        ('token="\\é', 'text/"plain"'),
        ("&".join(["a=1"] * 2_000), "application/x-www-form-urlencoded"),
        (urlencode(ASKED), "application/x-www-form-urlencoded; charset=UTF-8"),
        (f"{urlencode(ASKED)}&client_secret=a&client_secret=b", "application/x-www-form-urlencoded"),
        ("grant_type=%22&client_secret=a", "application/x-www-form-urlencoded"),
    ],
)
async def test_error_description_has_only_the_characters_of_the_standard(
    edge: httpx.AsyncClient, path: str, content: str, content_type: str
) -> None:
    response = await edge.post(path, content=content.encode(), headers={"Content-Type": content_type})

    assert response.status_code in {400, 401, 415}
    assert DESCRIPTION.fullmatch(response.json()["error_description"])


@paths
async def test_get_is_refused_because_a_url_would_carry_the_token(
    edge: httpx.AsyncClient, rpc: FakeRpc, path: str
) -> None:
    response = await edge.get(path, params=ASKED, headers={"Authorization": f"Bearer {SECRET}"})

    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert rpc.calls == []


async def test_introspection_with_the_setting_off_leaves_out_exp_alone(open_edge: OpenEdge) -> None:
    """`AUTH_INTROSPECTION_EXP`, for gateways that cache a token until its `exp`."""
    form = {"token": "t", "client_secret": SECRET}
    async with open_edge() as edge, open_edge(introspection_exp=False) as without_exp:
        described = (await edge.post("/introspect", data=form)).json()
        assert isinstance(described.pop("exp"), int)
        assert (await without_exp.post("/introspect", data=form)).json() == described
