"""Client IP addresses: their form on the wire, and the key that throttles count them under."""

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, IPvAnyAddress, WithJsonSchema

#: Size of the network that counts as one IPv6 client. A site gets at least a /64 (RFC 4291, 2.5.4)
#: and may use every address in it.
IPV6_PREFIX_BITS = 64
_OTHER_BITS = 128 - IPV6_PREFIX_BITS
#: Longest accepted text. The longest IPv6 address has 45 characters, and an interface name in its
#: zone has 16. Python itself accepts a zone of any length.
MAX_ADDRESS_CHARS = 64


def normalised_address(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the address as IPv4 if it is IPv4-mapped, and without its zone.

    A zone has a meaning on one host only (RFC 4007, 6).
    """
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _text(value: Any) -> Any:
    """Reject values that Python would accept as addresses: numbers, and False as 0.0.0.0."""
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
    """Return the key that throttles and limits use for this address: IPv4 by address, IPv6 by
    /64."""
    address = normalised_address(address)
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) >> _OTHER_BITS << _OTHER_BITS)}/{IPV6_PREFIX_BITS}"
