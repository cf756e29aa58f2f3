"""The registration policy: clients that may register a tenant."""

import hmac
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address


class RegistrationPolicy:
    """Implements the port `Registration`: callers with the registration key and clients in the configured networks."""

    def __init__(
        self,
        networks: Sequence[IPv4Network | IPv6Network],
        key: str | None,
        *,
        on_wrong_key: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_wrong_key` is called for each wrong key, if a registration key is configured."""
        self._networks = networks
        self._key = key
        self._on_wrong_key = on_wrong_key

    @property
    def has_key(self) -> bool:
        return self._key is not None

    def admits(self, address: str | None) -> bool:
        return address is not None and any(ip_address(address) in network for network in self._networks)

    def is_key(self, key: str) -> bool:
        if self._key is None:
            return False
        is_key = hmac.compare_digest(key.encode(), self._key.encode())
        if not is_key:
            self._on_wrong_key()
        return is_key
