"""Addresses of clients: as they are on the wire, and which of them count as one client."""

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, IPvAnyAddress, WithJsonSchema

#: Who is given IPv6 is given a network of at least this size (RFC 4291, 2.5.4), and may use any address of it.
IPV6_PREFIX_BITS = 64
_OTHER_BITS = 128 - IPV6_PREFIX_BITS
#: The longest IPv6 address takes 45, and the name of an interface behind it 16. Python takes a zone of any length.
MAX_ADDRESS_CHARS = 64


def normalised_address(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address alone: as IPv4 if it is one, and without a zone, which means something on one host (RFC 4007, 6)."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _text(value: Any) -> Any:
    """Python takes numbers for addresses too, and False for 0.0.0.0."""
    if isinstance(value, bool | int | float | bytes) or (isinstance(value, str) and len(value) > MAX_ADDRESS_CHARS):
        raise ValueError("must be an IPv4 or IPv6 address")
    return value


ClientAddress = Annotated[
    IPvAnyAddress,
    BeforeValidator(_text),
    AfterValidator(normalised_address),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}),
]


def client_key(address: IPv4Address | IPv6Address) -> str:
    """What attempts and requests from this address are counted under: IPv4 by address, IPv6 by /64."""
    address = normalised_address(address)
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) >> _OTHER_BITS << _OTHER_BITS)}/{IPV6_PREFIX_BITS}"
