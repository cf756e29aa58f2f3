"""Requests as they go over the wire, and the load that they make; each measurement alternates with its floor."""

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
PASSWORD: Final = "correct horse battery"


@dataclass(frozen=True, slots=True)
class Requests:
    """As they go over the wire."""

    login: bytes
    verifications: Sequence[bytes]
    without_worker: Sequence[bytes]


async def registered(stage: Stage, logins: Sequence[Login]) -> Requests:
    """Registers a tenant with a user who can log in; these logins are verified."""

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
    """One request each."""
    return [post("/auth/verify", {"token": each.token}, each.tenant_token) for each in logins]


async def http_load(
    url: str | Sequence[str], requests: Sequence[bytes], seconds: float, connections: int = CONNECTIONS
) -> Timed:
    """Sends the requests in turn, over so many connections."""
    turn = cycle(requests)
    async with http_connections([url] if isinstance(url, str) else url, connections) as http:
        return await timed(lambda: http.ask(next(turn)), seconds, connections)


def post(path: str, body: dict[str, str], token: str | None) -> bytes:
    """A JSON request, with a tenant's token if it needs one."""
    return http_request("POST", path, json.dumps(body).encode(), token)
