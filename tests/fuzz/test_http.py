"""Any bytes where the edge reads something that its document does not describe: headers, paths, forms, the wire."""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import quote_from_bytes

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, strategies as st
from yarl import URL

from tests.e2e.tenant import Tenant
from tests.fuzz.conftest import bounded, tried
from tests.service import RunningService

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Longer than an answer takes on any machine that can run this at all.
ANSWER_SECONDS = 30
#: For an answer that must not come, behind one that has.
QUIET_SECONDS = 0.02
ENDING = b"Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
REFUSED = {400, 401, 403, 404, 405, 422}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenant(service: RunningService) -> AsyncIterator[Tenant]:
    async with httpx.AsyncClient(base_url=service.urls[0], timeout=ANSWER_SECONDS) as http:
        tenant = await Tenant.register(http)
        assert (await tenant.create("ann")).is_success
        yield tenant


#: What may stand in a header at all: RFC 9110, 5.5, with the bytes that are not ASCII.
header_bytes = st.binary(max_size=80).map(
    lambda value: bytes(byte for byte in value if byte > 31 and byte != 127).strip()
)
tokens = header_bytes | st.binary().map(base64.urlsafe_b64encode) | st.just(b"e30.e30.e30")
credentials = st.one_of(
    header_bytes,
    st.tuples(st.sampled_from([b"Bearer", b"bearer ", b"Basic", b"BASIC", b"Digest"]), tokens).map(b" ".join),
    st.binary(max_size=40).map(lambda pair: b"Basic " + base64.b64encode(pair)),
    st.text(max_size=40).map(lambda pair: b"Basic " + base64.b64encode((":" + pair).encode())),
).map(bytes.strip)


@pytest.mark.usefixtures("unharmed")
@bounded(100)
@given(authorization=credentials, path=st.sampled_from(["/user", "/events", "/introspect", "/revoke"]))
async def test_any_credentials_are_refused(tenant: Tenant, authorization: bytes, path: str) -> None:
    """Whatever `Authorization` says, without a token of a live session it is a 401 and nothing else."""
    tried["HTTP credentials"] += 1
    headers = {b"Authorization": authorization}
    if path in {"/introspect", "/revoke"}:
        response = await tenant.http.post(path, data={"token": "none"}, headers=headers)
    else:
        response = await tenant.http.get(path, headers=headers)
    assert response.status_code == 401, response.text


positions = (
    header_bytes
    | st.integers().map(lambda number: str(number).encode())
    | st.text("0123456789", max_size=14).map(str.encode)
)


@pytest.mark.usefixtures("unharmed")
@bounded(60)
@given(position=positions)
async def test_any_position_opens_a_stream_or_none(tenant: Tenant, position: bytes) -> None:
    """A position that the stream might have told begins a stream, any other is refused."""
    tried["positions of event streams"] += 1
    headers = {b"Authorization": f"Bearer {tenant.token}".encode(), b"Last-Event-ID": position}
    async with tenant.http.stream("GET", "/events", headers=headers) as response:
        if response.status_code == 200:
            assert (await anext(response.aiter_bytes())).startswith(b"id: ")
        else:
            assert response.status_code == 422


queries = st.fixed_dictionaries({}, optional={"cursor": st.binary(max_size=90), "q": st.binary(), "limit": st.binary()})
own_cursors = st.binary(max_size=60).map(lambda login: b"a" + base64.urlsafe_b64encode(login).rstrip(b"="))


@pytest.mark.usefixtures("unharmed")
@bounded(100)
@given(query=queries | st.fixed_dictionaries({"cursor": own_cursors}))
async def test_any_query_is_a_page_or_refused(tenant: Tenant, query: dict[str, bytes]) -> None:
    """Cursors, searches and limits of any bytes, well encoded or not."""
    tried["HTTP queries"] += 1
    encoded = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in query.items())
    response = await tenant.call("GET", f"/user?{encoded}")
    assert response.status_code in {200, 422}, response.text


segments = st.binary(max_size=40).map(lambda value: quote_from_bytes(value, safe="")) | st.text(
    "%./\\0aZ:;=~-_", min_size=1, max_size=12
).map(lambda text: text.replace("/", "%2f"))


@pytest.mark.usefixtures("unharmed")
@bounded(100)
@given(login=segments, rest=st.lists(segments, max_size=2), method=st.sampled_from(["GET", "DELETE", "PATCH"]))
async def test_any_path_is_one_user_or_none(tenant: Tenant, login: str, rest: list[str], method: str) -> None:
    """Percent-encoding, right or wrong, names no other route, and no user that is not there."""
    tried["HTTP paths"] += 1
    path = "/".join(["/user", login, *(["sessions", *rest[1:]] if rest else [])])
    line = f"{method} {path} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {tenant.token}\r\n"
    status = await _raw(tenant, line.encode() + ENDING)
    assert status in {*REFUSED, 200}
    assert status != 200 or login == "ann" or (login == "" and method == "GET")


@pytest.mark.usefixtures("unharmed")
@bounded(100)
@given(form=st.binary(max_size=200) | st.binary(max_size=60).map(lambda token: b"token=" + token))
async def test_any_form_is_read_or_refused(tenant: Tenant, form: bytes) -> None:
    """Forms of any bytes: a token that is none is inactive, and what is no form is refused."""
    tried["HTTP forms"] += 1
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Bearer {tenant.token}"}
    response = await tenant.http.post("/introspect", content=form, headers=headers)
    assert response.status_code in {200, 400, 422}, response.text
    assert response.status_code != 200 or response.json() == {"active": False}


lines = st.lists(
    st.binary(max_size=40)
    | st.sampled_from([b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"", b"5"]),
    max_size=8,
)


@pytest.mark.usefixtures("unharmed")
@bounded(100)
@given(said=st.binary(max_size=300) | lines.map(b"\r\n".join))
async def test_any_bytes_are_answered_or_cut_off(tenant: Tenant, said: bytes) -> None:
    """Whatever is said on a connection: no 5xx, and the edge is there for the next one."""
    tried["HTTP connections in raw bytes"] += 1
    status = await _raw(tenant, said, ends=True)
    assert status is None or status < 500
    assert (await tenant.http.get("/health/live")).status_code == 200


#: What nobody may do by hiding it: each of these would succeed as a request of its own, and be seen.
fields = st.sampled_from(
    [b"X-Forwarded-For: 10.77.1.2", b"Host: other", b"Content-Length: 5", b"Transfer-Encoding: chunked"]
)
token_names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(str.encode)
any_field = st.tuples(token_names | st.binary(max_size=8), header_bytes | st.binary(max_size=30)).map(b": ".join)
upgrades = st.sampled_from(
    [b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Upgrade: h2c\r\nConnection: keep-alive, Upgrade\r\n"]
)


class Hidden(NamedTuple):
    """A chunked request: how it is cut, its extensions, its trailers, and what stands in its body."""

    upgrade: bytes
    sizes: list[int]
    extension: bytes
    trailers: list[bytes]
    cuts: list[int]


hidden = st.builds(
    Hidden,
    upgrades,
    st.lists(st.integers(1, 90), max_size=6),
    st.just(b"") | token_names.map(lambda name: b";" + name) | st.binary(max_size=12).map(lambda value: b";" + value),
    st.lists(fields | any_field, max_size=5),
    st.lists(st.integers(0, 900), max_size=4),
)


@pytest.mark.usefixtures("unharmed")
@bounded(150)
@given(request=hidden)
async def test_nothing_hidden_in_a_request_is_a_request_or_a_header(tenant: Tenant, request: Hidden) -> None:
    """Bodies of upgrades and chunks delete no user, and trailers are no credentials, however the bytes arrive."""
    tried["HTTP trailers and upgrades"] += 1
    smuggled = b"DELETE /user/ann HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer %s\r\n\r\n" % tenant.token.encode()
    head = b"DELETE /user/ann/sessions HTTP/1.1\r\nHost: edge\r\n%sTransfer-Encoding: chunked\r\n\r\n" % request.upgrade
    trailers = [b"Authorization: Bearer " + tenant.token.encode(), *request.trailers]
    said = head + _chunks(smuggled, request) + b"0\r\n" + b"\r\n".join(trailers) + b"\r\n\r\n"
    statuses = await _statuses(tenant, said, sorted({min(cut, len(said)) for cut in request.cuts}))
    assert statuses in ([401], [400])
    assert (await tenant.call("GET", "/user?q=ann")).json()["users"], "ann was deleted"


def _chunks(body: bytes, request: Hidden) -> bytes:
    pieces, rest = [], body
    for size in [*request.sizes, len(body)]:
        pieces.append(rest[:size])
        rest = rest[size:]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(piece), request.extension, piece) for piece in pieces if piece)


async def _statuses(tenant: Tenant, said: bytes, cuts: list[int]) -> list[int]:
    """The statuses of all answers to these bytes, written in pieces, on a connection of their own."""
    url = URL(str(tenant.http.base_url))
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        for start, end in itertools.pairwise([0, *cuts, len(said)]):
            writer.write(said[start:end])
            await asyncio.sleep(0)
        answers = b""
        try:
            # Two answers would come together; the connection stays open for another request after a good one.
            answers = await reader.readuntil(b"}")
            async with asyncio.timeout(QUIET_SECONDS):
                answers += await reader.read()
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
    return [int(line.split()[1]) for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


async def _raw(tenant: Tenant, said: bytes, *, ends: bool = False) -> int | None:
    """The status that these bytes are answered with. None if there is none; `ends` says that nothing more will come."""
    url = URL(str(tenant.http.base_url))
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        try:
            writer.write(said)
            if ends:
                writer.write_eof()
            line = await reader.readline()
        except ConnectionError:
            return None
        finally:
            writer.close()
    return int(line.split()[1]) if line.startswith(b"HTTP/") else None
