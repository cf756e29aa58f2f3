"""An audit trail: a line for every session that ends before its time, also of those that end while this is not running.

    AMQP_URL=amqp://… AUTH_EMAIL=me@example.com AUTH_PASSWORD=… python examples/audit.py

The broker collects the events in a queue of their own. Each is given up only when it has been written down: after a
crash it comes again, so a line may come twice, and its `event` tells.
"""

import asyncio
import json
import os

from jincor_auth_client import AuthClient, SessionRevokedEvent


async def write_down(event: SessionRevokedEvent) -> None:
    """What raises here is tried again, five times in all; then the event is set aside in a queue of dead letters."""
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
    async with AuthClient.connect(
        os.environ["AMQP_URL"], email=os.environ["AUTH_EMAIL"], password=os.environ["AUTH_PASSWORD"], name="audit"
    ) as auth:
        await auth.on_revocation(write_down, durable="trail")


if __name__ == "__main__":
    asyncio.run(main())
