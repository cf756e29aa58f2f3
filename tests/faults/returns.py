"""Callers who are refused for want of room, and come back when they are told to."""

import asyncio
import itertools
import time
from collections import Counter

import httpx

from tests.faults.load import PASSWORD
from tests.faults.profile import note
from tests.faults.stack import Stack


def login_of(user: str) -> dict[str, str]:
    """The body of a login."""
    return {"login": user, "password": PASSWORD, "deviceId": "d"}


async def returned_as_told(stack: Stack, callers: int) -> tuple[list[int], list[int]]:
    """So many log in at once, and come back as they are told: what each refusal told, and how often each came back."""
    told: list[int] = []

    async def log_in() -> int:
        headers = {"Authorization": f"Bearer {stack.tenant.token}"}
        async with httpx.AsyncClient(base_url=stack.service.urls[0], timeout=60, trust_env=False) as http:
            for returns in itertools.count():
                response = await http.post("/auth", json=login_of("bob"), headers=headers)
                if response.is_success:
                    return returns
                assert response.status_code == 503, response.text
                told.append(int(response.headers["Retry-After"]))
                await asyncio.sleep(told[-1])
        raise AssertionError

    await stack.tenant.create("bob", PASSWORD)
    began = time.monotonic()
    returns = await asyncio.gather(*(log_in() for _ in range(callers)))
    note(
        f"{callers} logins at once: told to come back after {dict(Counter(told))} seconds, served after so "
        f"many returns: {dict(Counter(returns))}, the last after {time.monotonic() - began:.1f} s"
    )
    return told, returns
