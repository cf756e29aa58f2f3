"""Addresses of clients."""

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
def test_an_address_travels(text: str, plain: str) -> None:
    """From an address or a text; IPv4 as what it is, however it is written, and IPv6 without a zone."""
    for given in (text, ip_address(text)):
        assert TenantLoginRequest.model_validate_json(request(given).to_json()).client_address == ip_address(plain)


@pytest.mark.parametrize(
    "other",
    [False, True, 0, 1, 1.0, b"\x00" * 4, "", "unknown", "192.0.2.1:80", "10.0.0.0/8", [], "fe80::1%" + 128_000 * "x"],
)
def test_what_is_no_address(other: Any) -> None:
    """Numbers are none, although Python takes them for some."""
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
def test_which_addresses_are_one_client(text: str, client: str) -> None:
    """IPv4 by address, however it is written, IPv6 by /64."""
    assert client_key(ip_address(text)) == client
