"""The sweep after a crash. The tests write what the crash would leave in the database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pymongo
import pytest
import pytest_asyncio
from pymongo.database import Database

from shared.contracts.events import SessionRevokedEvent
from tests.e2e.tenant import Tenant
from tests.service import RunningService

#: The sweep runs every few seconds.
PATIENCE_SECONDS = 30
LONG_AGO = datetime.now(UTC) - timedelta(minutes=1)

Audit = aio_pika.abc.AbstractQueue


@pytest.fixture
def database(service: RunningService) -> Iterator[Database[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](service.mongo_url) as client:
        yield client.get_default_database()


@pytest_asyncio.fixture
async def audit(service: RunningService, tenant: Tenant) -> AsyncIterator[Audit]:
    """A durable queue that receives every revocation of the tenant."""
    async with await aio_pika.connect(service.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(f"audit-{tenant.id}", durable=True)
        await queue.bind("events", routing_key=f"session.revoked.{tenant.id}")
        yield queue


async def test_sweep_announces_an_unannounced_revocation(
    database: Database[dict[str, Any]], tenant: Tenant, audit: Audit
) -> None:
    await tenant.create("ann")
    session = (await tenant.verify(await tenant.token_of("ann"))).json()["decoded"]["jti"]
    ended = {"revocation": {"at": LONG_AGO, "reason": "logout"}, "outbox": LONG_AGO}
    assert database.sessions.update_one({"_id": session}, {"$set": ended}).modified_count == 1

    assert await _next_event(audit) == (session, "logout")
    await _until_none(database, "sessions", {"_id": session, "outbox": {"$exists": True}})


@pytest.mark.parametrize("reason", ["password_changed", "user_deleted"])
async def test_sweep_finishes_an_unfinished_revocation_of_a_user(
    database: Database[dict[str, Any]], tenant: Tenant, audit: Audit, reason: str
) -> None:
    """Every session is revoked and announced, and a deletion is completed."""
    user = (await tenant.create("ann")).json()["id"]
    token = await tenant.token_of("ann")
    session = (await tenant.verify(token)).json()["decoded"]["jti"]
    decided: dict[str, Any] = {"generation": 1, "ending": {"generation": 1, "reason": reason, "at": LONG_AGO}}
    if reason == "user_deleted":
        decided["deleted_at"] = LONG_AGO
    assert database.users.update_one({"_id": user, "generation": 0}, {"$set": decided}).modified_count == 1

    assert await _next_event(audit) == (session, reason)
    assert (await tenant.verify(token)).status_code == 400
    await _until_none(database, "users", {"_id": user, "ending": {"$exists": True}})
    again = await tenant.create("ann")
    assert again.status_code == (200 if reason == "user_deleted" else 409)


async def _next_event(audit: Audit) -> tuple[str, str]:
    """Return the session and the reason of the next event."""
    async with asyncio.timeout(PATIENCE_SECONDS), audit.iterator() as messages:
        message = await anext(messages)
        await message.ack()
    data = SessionRevokedEvent.model_validate_json(message.body).data
    return data.session_id, data.reason


async def _until_none(database: Database[dict[str, Any]], collection: str, query: dict[str, Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while database[collection].find_one(query):  # noqa: ASYNC110 (a worker changes the database)
            await asyncio.sleep(0.05)
