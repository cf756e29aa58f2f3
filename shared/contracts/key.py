"""The view of an API key, and the reply that shows its secret."""

from ipaddress import IPv6Network, ip_network
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from .api_key import api_key_id
from .permissions import Permission
from .wire import Milliseconds, Name, WireModel

#: Longer texts are no networks: an IPv6 address has at most 39 characters, a prefix length four.
MAX_NETWORK_CHARS = 64
#: The IPv6 form of IPv4 addresses (RFC 4291, 2.5.5.2). Callers' addresses are converted to IPv4.
_IPV4_MAPPED = IPv6Network("::ffff:0:0/96")


def _network(value: str) -> str:
    """Return the network in its shortest spelling, such as `10.0.0.0/8`."""
    problem = "must be an IPv4 or IPv6 network such as 10.0.0.0/8 or 2001:db8::/32, without host bits"
    try:
        network = ip_network(value)
    except ValueError:
        raise ValueError(problem) from None
    is_mapped = isinstance(network, IPv6Network) and network.subnet_of(_IPV4_MAPPED)
    if "%" in value or is_mapped:
        raise ValueError(f"{problem}, zone or IPv4-mapped addresses")
    return str(network)


def _distinct(networks: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(networks))


Network = Annotated[str, StringConstraints(max_length=MAX_NETWORK_CHARS), AfterValidator(_network)]
#: The networks that a key may be used from. Empty: everywhere.
Networks = Annotated[tuple[Network, ...], Field(max_length=32), AfterValidator(_distinct)]


def _key_id(value: str) -> str:
    if api_key_id(value) is not None:
        raise ValueError("must be the id of the key, not the key itself")
    return value


#: The id of a key in a request. A whole key would get into queries, and so into logs of the database.
KeyId = Annotated[Name, AfterValidator(_key_id)]


class ApiKey(WireModel):
    """An API key as its tenant sees it. It never holds a secret."""

    id: str
    """The id is part of the key itself. It is also the id of the key's session in events and in the audit trail."""
    name: str
    permissions: tuple[Permission | str, ...]
    """In alphabetical order. A newer worker may send names that are not in this list."""
    networks: tuple[str, ...]
    """The networks that the key may be used from, in CIDR notation. Empty: everywhere."""
    created_at: Milliseconds
    created_by: str
    """The creator: `tenant:` and the tenant's email, `key:` or `client:` and the id of an API key, or `operator:` and
    the operator's login."""
    expires_at: Milliseconds
    last_used_at: Milliseconds | None
    """When the key, or an access token of it, was last used: to the minute, up to some minutes late. Null: never."""


class IssuedKey(WireModel):
    """An API key together with its new secret."""

    key: ApiKey
    api_key: Annotated[str, Field(repr=False)]
    """The key itself: `jak_` and 71 letters and digits. It is shown only here: the service stores a digest of it."""
