"""A service with the client library of either version, controlled by lines of JSON.

It runs as a script, with the source of its version first on its path, and uses only what both versions have.
Its environment: `AMQP_URL`, `EMAIL`, `PASSWORD`. The first output line names the source that it runs from; a line with
`revoked` names a session whose revocation it received.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

import shared
from shared import AuthClient, AuthError, CachedVerifier

#: Longest time until its feed is alive.
PATIENCE_SECONDS = 15.0
#: Far longer than a test, so that only the feed removes entries.
MAX_AGE_SECONDS = 3_600.0


async def main() -> None:
    url, email, password = (os.environ[name] for name in ("AMQP_URL", "EMAIL", "PASSWORD"))
    async with (
        AuthClient.connect(url, email=email, password=password, name="mixed", exchange="calls.mixed") as auth,
        auth.verifier(max_age_seconds=MAX_AGE_SECONDS) as cached,
    ):
        following = asyncio.create_task(follow(auth))
        say(started=str(shared.__file__))
        while line := await asyncio.to_thread(sys.stdin.readline):
            command, *arguments = json.loads(line)
            say(**await answer(auth, cached, command, *arguments))
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def follow(auth: AuthClient) -> None:
    """Print each session that is revoked from now on, also before the subscription exists."""
    async for event in auth.revocations(since=int(time.time())):
        say(revoked=event.data.session_id)


async def answer(auth: AuthClient, cached: CachedVerifier[str], command: str, *arguments: str) -> dict[str, str]:
    """Return the result of a command: `value`, or the `code` of an error."""
    try:
        return {"value": await value_of(auth, cached, command, *arguments)}
    except AuthError as error:
        return {"code": str(error.code)}


async def value_of(auth: AuthClient, cached: CachedVerifier[str], command: str, *arguments: str) -> str:
    value: object = ""
    match command:
        case "create":
            await auth.users.create(arguments[0], arguments[1], email="user@users.test")
        case "login":
            value = await auth.login(arguments[0], arguments[1], device_id="phone")
        case "verify":
            value = (await auth.verify(arguments[0])).jti
        case "verify from memory":
            value = (await cached.verify(arguments[0])).jti
        case "logout":
            await auth.logout(arguments[0])
        case "revoke all":
            await auth.sessions.revoke_all(arguments[0])
        case "wait for the feed":
            value = await cached.wait_trusted(PATIENCE_SECONDS)
        case "count hits":
            value = cached.counts.hits
        case _:
            raise ValueError(command)
    return str(value)


def say(**members: Any) -> None:
    print(json.dumps(members), flush=True)  # noqa: T201 - its answer


asyncio.run(main())
