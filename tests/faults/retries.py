"""Callers that are refused with `overloaded` and retry after the given time."""

import asyncio
import itertools
import time
from collections import Counter

import httpx

from tests.faults.load import PASSWORD
from tests.faults.profile import note
from tests.faults.stack import Stack


def login_of(user: str) -> dict[str, str]:
    """Return the body of a login."""
    return {"login": user, "password": PASSWORD, "deviceId": "d"}


async def retried_as_told(stack: Stack, callers: int) -> tuple[list[int], list[int]]:
    """Send this many logins at once, with retries after `Retry-After`; return all these values and the
    retries of each.
    """
    retry_after: list[int] = []

    async def log_in() -> int:
        headers = {"Authorization": f"Bearer {stack.tenant.token}"}
        async with httpx.AsyncClient(base_url=stack.service.urls[0], timeout=60, trust_env=False) as http:
            for retries in itertools.count():
                response = await http.post("/auth", json=login_of("bob"), headers=headers)
                if response.is_success:
                    return retries
                assert response.status_code == 503, response.text
                retry_after.append(int(response.headers["Retry-After"]))
                await asyncio.sleep(retry_after[-1])
        raise AssertionError

    await stack.tenant.create("bob", PASSWORD)
    began = time.monotonic()
    retries = await asyncio.gather(*(log_in() for _ in range(callers)))
    note(
        f"{callers} logins at once: Retry-After {dict(Counter(retry_after))} s, served after "
        f"these retries: {dict(Counter(retries))}, the last after {time.monotonic() - began:.1f} s"
    )
    return retry_after, retries
