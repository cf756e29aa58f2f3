"""Client IP addresses: their form on the wire, and the key that throttles count them under."""

import contextlib
import functools
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

#: Size of the network that counts as one IPv6 client. A site gets at least a /64 (RFC 4291, 2.5.4)
#: and may use every address in it.
IPV6_PREFIX_BITS = 64
_OTHER_BITS = 128 - IPV6_PREFIX_BITS
#: Longest accepted text. The longest IPv6 address has 45 characters, and an interface name in its
#: zone has 16. Python itself accepts a zone of any length.
MAX_ADDRESS_CHARS = 64
#: Addresses whose parsed form is cached: every verification carries the address of its caller, and products have few.
#: Less than 1 MB.
ADDRESSES_REMEMBERED = 2_048


def normalised_address(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the address as IPv4 if it is IPv4-mapped, and without its zone.

    A zone has a meaning on one host only (RFC 4007, 6).
    """
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


@functools.lru_cache(ADDRESSES_REMEMBERED)
def address_of(text: str) -> IPv4Address | IPv6Address:
    """Return the address that a text names. Raises `ValueError`."""
    return ip_address(text)


def _address(value: Any) -> IPv4Address | IPv6Address:
    """Return an address in its normal form. Python would accept numbers too, and False as 0.0.0.0."""
    if isinstance(value, str) and len(value) <= MAX_ADDRESS_CHARS:
        with contextlib.suppress(ValueError):
            return normalised_address(address_of(value))
    elif isinstance(value, IPv4Address | IPv6Address):
        return normalised_address(value)
    raise ValueError("must be an IPv4 or IPv6 address")


#: The text of an address. Like `address_of`, it takes longer than everything else that a verification does with it.
_text = functools.lru_cache(ADDRESSES_REMEMBERED)(str)

ClientAddress = Annotated[
    # The type by which pydantic itself validates and serialises addresses takes ten times as long.
    IPv4Address | IPv6Address,
    PlainValidator(_address),
    PlainSerializer(_text, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}),
]


def client_key(address: IPv4Address | IPv6Address) -> str:
    """Return the key that throttles and limits use for this address: IPv4 by address, IPv6 by
    /64."""
    address = normalised_address(address)
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) >> _OTHER_BITS << _OTHER_BITS)}/{IPV6_PREFIX_BITS}"
