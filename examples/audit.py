"""An audit trail: prints a line for every revoked session, including those revoked while this program was stopped.

    AMQP_URL=amqp://… AUTH_API_KEY=jak_… python examples/audit.py

The broker stores the events in a durable queue. An event is acknowledged after its line was printed, so a
crash may cause a duplicate line. Duplicates have the same `event`. The API key needs the permission `events:read`.
"""

import asyncio
import json
import os
import sys

from jincor_auth_client import AuthClient, SessionRevokedEvent


async def write_down(event: SessionRevokedEvent) -> None:
    """Print the event. If this raises, the event is redelivered; after five attempts it is dead-lettered."""
    ended = event.data
    line = {
        "time": event.time.isoformat(),
        "login": ended.login,
        "device": ended.device_id,
        "reason": ended.reason,
        "event": event.id,
    }
    print(json.dumps(line), flush=True)


async def main() -> None:
    async with AuthClient.connect(os.environ["AMQP_URL"], api_key=os.environ["AUTH_API_KEY"], name="audit") as auth:
        await auth.on_revocation(
            write_down, durable="trail", on_subscribed=lambda: print("collecting revocations", file=sys.stderr)
        )


if __name__ == "__main__":
    asyncio.run(main())
