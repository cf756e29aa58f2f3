"""Rate limit for the requests of each client. Each edge counts for itself, in memory."""

import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import HTTP_EXCEPTIONS, problem, problem_response
from shared.contracts.address import client_key, normalised_address

#: Health probes are neither limited nor counted: another client at the same address must not make them fail.
UNCOUNTED = {"/health/live", "/health/ready"}
#: Size of the cache from address to client: parsing an address takes longer than the rest of the check.
REMEMBERED_ADDRESSES = 4_096

Network = IPv4Network | IPv6Network


class RequestLimit:
    """Middleware that answers 429 to a client over the limit, until the current window ends.

    All clients share one window, and all counts are dropped when it ends. Memory is bounded by the clients of one
    window.
    """

    def __init__(
        self,
        app: ASGIApp,
        requests: int,
        seconds: float,
        exempt: Sequence[Network] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self._requests = requests
        self._seconds = seconds
        self._exempt = exempt
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._ends_at = clock() + seconds
        self._client_of = lru_cache(REMEMBERED_ADDRESSES)(self._counted_as)

    @property
    def clients(self) -> int:
        """Number of clients that are remembered."""
        return len(self._counts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNCOUNTED or not self._is_too_much(scope["client"]):
            await self.app(scope, receive, send)
            return
        headers = {"Retry-After": str(max(math.ceil(self._ends_at - self._clock()), 1))}
        await problem_response(problem(*HTTP_EXCEPTIONS[429]), headers)(scope, receive, send)

    def _is_too_much(self, peer: tuple[str, int] | None) -> bool:
        client = self._client_of(peer[0]) if peer else None
        if client is None:
            return False
        now = self._clock()
        if now >= self._ends_at:
            self._counts, self._ends_at = {}, now + self._seconds
        count = self._counts[client] = self._counts.get(client, 0) + 1
        return count > self._requests

    def _counted_as(self, host: str) -> str | None:
        """Return the client that this address belongs to, or None if its requests are not counted."""
        try:
            address = normalised_address(ip_address(host))
        except ValueError:  # a Unix socket, or a proxy that hides it
            return None
        return None if any(address in network for network in self._exempt) else client_key(address)


def request_limit(requests: int, seconds: float, exempt: Sequence[Network]) -> list[Middleware]:
    """Return the middleware that limits the requests of each client, or nothing if the limit is 0."""
    return [Middleware(RequestLimit, requests=requests, seconds=seconds, exempt=exempt)] if requests else []
