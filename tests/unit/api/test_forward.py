"""`/auth/forward`: claims as headers, which servers behind the proxy decode."""

from urllib.parse import unquote

import h11
import httpx
import pytest
from hypothesis import example, given, strategies as st

from api.routes.forward import header_value
from shared.contracts.auth_verify import AUTH_VERIFY
from tests.unit.api.conftest import OpenEdge
from tests.unit.api.fake_rpc import FakeRpc

#: Characters that a careless decoder confuses with one another.
texts = st.text(st.sampled_from(" %20+aä\u00a0\u2003")) | st.text()


def received(value: str) -> str:
    """Return a header's value as a server receives it, percent-decoded as docs/gateways.md says."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\nHost: app\r\nX-Auth-Login: %s\r\n\r\n" % value.encode("ascii"))
    request = server.next_event()
    assert isinstance(request, h11.Request)
    return unquote(dict(request.headers)[b"x-auth-login"].decode("ascii"), errors="strict")


@given(text=texts)
@example(" admin")
@example("admin ")
@example("   ")
@example("%20admin")
@example("a b")
def test_header_value_decodes_to_the_claim(text: str) -> None:
    """Therefore no two claims have the same header value."""
    assert received(header_value(text)) == text


@pytest.mark.parametrize(
    ("claim", "header"), [("login", "X-Auth-Login"), ("sub", "X-Auth-Sub"), ("deviceId", "X-Auth-Device")]
)
async def test_claim_with_outer_spaces_keeps_them_encoded(
    open_edge: OpenEdge, rpc: FakeRpc, claim: str, header: str
) -> None:
    """A user named `" admin"` must not become admin on a server that strips header values."""
    for name, encoded in ((" admin", "%20admin"), ("admin ", "admin%20"), ("admin", "admin")):
        response = await _forwarded(open_edge, rpc, {claim: name})
        assert (response.status_code, response.headers[header]) == (200, encoded)


async def _forwarded(open_edge: OpenEdge, rpc: FakeRpc, claims: dict[str, str]) -> httpx.Response:
    answered = rpc.answers[AUTH_VERIFY.name]
    assert isinstance(answered, dict)
    changed = {"answers": [{"claims": {**answered["answers"][0]["claims"], **claims}}]}
    rpc.answers[AUTH_VERIFY.name] = changed
    async with open_edge(forward_email="shop@example.com", forward_password="p") as edge:
        return await edge.get("/auth/forward", headers={"Authorization": "Bearer t"})
