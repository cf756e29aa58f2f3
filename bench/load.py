"""Prepared requests, and the load that sends them. Each measurement alternates with its floor."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from bench.edge import FLOOR_PATH
from bench.http_load import http_connections, http_request
from bench.population import Login
from bench.stage import Stage
from bench.timing import Timed, timed

ROUNDS: Final = 5
SECONDS: Final = 1.5
CONNECTIONS: Final = 32
MANY_CONNECTIONS: Final = 64
PASSWORD: Final = "correct horse battery"


@dataclass(frozen=True, slots=True)
class Requests:
    """Bytes of prepared requests."""

    login: bytes
    verifications: Sequence[bytes]
    without_worker: Sequence[bytes]


async def registered(stage: Stage, logins: Sequence[Login]) -> Requests:
    """Register a tenant with a user, and return its login request and the verifications of these logins."""

    async def ask(path: str, body: dict[str, str], token: str | None = None) -> dict[str, str]:
        async with http_connections([stage.stack.url], 1) as http:
            answer: dict[str, str] = json.loads(await http.ask(post(path, body, token)))
            return answer

    tenant = (await ask("/tenant", {"email": "bench@example.com", "password": PASSWORD}))["token"]
    await ask("/user", {"login": "ann", "email": "ann@example.com", "password": PASSWORD}, tenant)
    return Requests(
        login=post("/auth", {"login": "ann", "password": PASSWORD, "deviceId": "bench"}, tenant),
        verifications=verifications_of(logins),
        without_worker=[post(FLOOR_PATH, {"token": each.token}, each.tenant_token) for each in logins],
    )


def verifications_of(logins: Sequence[Login]) -> Sequence[bytes]:
    """Return a verification request for each login."""
    return [post("/auth/verify", {"token": each.token}, each.tenant_token) for each in logins]


async def http_load(
    url: str | Sequence[str], requests: Sequence[bytes], seconds: float, connections: int = CONNECTIONS
) -> Timed:
    """Send the requests in turn over this many connections."""
    turn = cycle(requests)
    async with http_connections([url] if isinstance(url, str) else url, connections) as http:
        return await timed(lambda: http.ask(next(turn)), seconds, connections)


def post(path: str, body: dict[str, str], token: str | None) -> bytes:
    """Return a JSON request, with a tenant token if it needs one."""
    return http_request("POST", path, json.dumps(body).encode(), token)
