"""Client addresses on the wire and as keys."""

from ipaddress import ip_address
from typing import Any

import pytest
from pydantic import ValidationError

from shared.contracts.address import client_key
from shared.contracts.tenant_login import TenantLoginRequest


def request(address: Any) -> TenantLoginRequest:
    return TenantLoginRequest.model_validate({"email": "a@b.test", "password": "p", "clientAddress": address})


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_address_is_sent_without_ipv4_mapping_or_zone(text: str, plain: str) -> None:
    """Texts and address objects are both accepted."""
    for given in (text, ip_address(text)):
        assert TenantLoginRequest.model_validate_json(request(given).to_json()).client_address == ip_address(plain)


@pytest.mark.parametrize(
    "other",
    [False, True, 0, 1, 1.0, b"\x00" * 4, "", "unknown", "192.0.2.1:80", "10.0.0.0/8", [], "fe80::1%" + 128_000 * "x"],
)
def test_invalid_address_is_rejected(other: Any) -> None:
    """Python's `ip_address` would accept numbers."""
    with pytest.raises(ValidationError):
        request(other)


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_client_key_is_the_ipv4_address_or_the_ipv6_64_network(text: str, client: str) -> None:
    assert client_key(ip_address(text)) == client
