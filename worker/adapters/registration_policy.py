"""Who may register a tenant."""

import hmac
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address


class RegistrationPolicy:
    """Implements `worker.ports.Registration`: holders of the key, and addresses in the networks. Nobody else."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network], key: str | None) -> None:
        self._networks = networks
        self._key = key

    def allows(self, key: str | None, address: str | None) -> bool:
        if key is not None and self.is_key(key):
            return True
        return address is not None and any(ip_address(address) in network for network in self._networks)

    def is_key(self, key: str) -> bool:
        return self._key is not None and hmac.compare_digest(key.encode(), self._key.encode())
