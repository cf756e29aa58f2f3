"""Addresses of clients: as they are on the wire, and which of them count as one client."""

from ipaddress import IPv6Address
from typing import Annotated, Any

from pydantic import BeforeValidator, IPvAnyAddress, WithJsonSchema

#: Who is given IPv6 is given a network of at least this size (RFC 4291, 2.5.4), and may use any address of it.
IPV6_PREFIX_BITS = 64
_OTHER_BITS = 128 - IPV6_PREFIX_BITS


def _text(value: Any) -> Any:
    """Python takes numbers for addresses too, and False for 0.0.0.0."""
    if isinstance(value, bool | int | float | bytes):
        raise ValueError("must be an IPv4 or IPv6 address")
    return value


ClientAddress = Annotated[
    IPvAnyAddress,
    BeforeValidator(_text),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}),
]


def client_of(address: IPvAnyAddress) -> str:
    """What attempts and requests from this address are counted under: IPv4 by address, IPv6 by /64."""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:  # all of them are in one /64
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> _OTHER_BITS << _OTHER_BITS)}/{IPV6_PREFIX_BITS}"
