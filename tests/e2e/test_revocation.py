"""Revocation at every edge and worker, and its events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import httpx
import pytest
import pytest_asyncio

from shared.contracts.events import SessionRevokedEvent
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

EVENT_TIMEOUT_SECONDS = 30


class Feed:
    """Revocation events of one tenant, received without the client."""

    def __init__(self, queue: aio_pika.abc.AbstractQueue) -> None:
        self._queue = queue
        self._iterator = queue.iterator(timeout=EVENT_TIMEOUT_SECONDS)

    async def next(self) -> SessionRevokedEvent:
        message = await anext(self._iterator)
        await message.ack()
        assert message.content_type == "application/cloudevents+json; charset=utf-8"
        event = SessionRevokedEvent.model_validate_json(message.body)
        assert message.message_id == event.id
        return event

    async def take(self, count: int) -> list[SessionRevokedEvent]:
        return [await self.next() for _ in range(count)]


@pytest_asyncio.fixture
async def feed(service: RunningService, tenant: Tenant) -> AsyncIterator[Feed]:
    connection = await aio_pika.connect(service.amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("events", routing_key=f"session.revoked.{tenant.id}")
        yield Feed(queue)


async def test_token_is_refused_at_every_edge_once_its_logout_is_answered(
    service: RunningService, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    await tenant.create("everywhere")
    async with httpx.AsyncClient(base_url=service.urls[1], timeout=30) as other_http:
        edges = [tenant.through(http), tenant.through(other_http)]
        for turn in range(10):
            token = await edges[turn % 2].token_of("everywhere")
            alive = await asyncio.gather(*(edge.verify(token) for edge in edges * 4))
            assert [response.status_code for response in alive] == [200] * 8
            assert (await edges[turn % 2].logout(token)).status_code == 200
            dead = await asyncio.gather(*(edge.verify(token) for edge in edges * 8))
            assert [response.status_code for response in dead] == [400] * 16


async def test_logout_is_announced_with_session_user_reason_and_expiry(tenant: Tenant, feed: Feed) -> None:
    user = (await tenant.create("announced")).json()
    token = await tenant.token_of("announced", device="tablet")
    claims = (await tenant.verify(token)).json()["decoded"]
    await tenant.logout(token)
    event = await feed.next()
    assert event.type == "com.jincor.auth.session.revoked"
    assert event.data.model_dump(by_alias=False, exclude={"event_timestamp"}) == {
        "session_id": claims["jti"],
        "tenant": tenant.id,
        "user": user["id"],
        "login": "announced",
        "device_id": "tablet",
        "reason": "logout",
        "exp": claims["exp"],
    }
    assert token not in event.model_dump_json()


async def _revoke_all(tenant: Tenant) -> httpx.Response:
    return await tenant.call("DELETE", tenant.path("many", "sessions"))


async def _change_password(tenant: Tenant) -> httpx.Response:
    return await tenant.call("PATCH", tenant.path("many"), json={"password": "another horse battery"})


async def _delete(tenant: Tenant) -> httpx.Response:
    return await tenant.call("DELETE", tenant.path("many"))


@pytest.mark.parametrize(
    ("end", "reason"),
    [(_revoke_all, "all_revoked"), (_change_password, "password_changed"), (_delete, "user_deleted")],
)
async def test_ending_all_sessions_revokes_and_announces_each(
    tenant: Tenant, feed: Feed, end: Any, reason: str
) -> None:
    """Sessions of other users stay alive."""
    await tenant.create("many")
    await tenant.create("bystander")
    tokens = [await tenant.token_of("many", device=f"device {number}") for number in range(5)]
    bystander = await tenant.token_of("bystander")
    sessions = {(await tenant.verify(token)).json()["decoded"]["jti"] for token in tokens}
    assert (await end(tenant)).status_code == 200
    assert [(await tenant.verify(token)).status_code for token in tokens] == [400] * 5
    assert (await tenant.verify(bystander)).status_code == 200
    events = await feed.take(5)
    assert {event.data.session_id for event in events} == sessions
    assert {event.data.reason for event in events} == {reason}


async def test_revoking_one_session_keeps_the_others(tenant: Tenant, feed: Feed) -> None:
    """Sessions are listed newest first, without secrets."""
    await tenant.create("devices")
    phone, laptop = await tenant.token_of("devices", "phone"), await tenant.token_of("devices", "laptop")
    listed = (await tenant.call("GET", tenant.path("devices", "sessions"))).json()["sessions"]
    assert [session["deviceId"] for session in listed] == ["laptop", "phone"]
    assert all(session.keys() == {"id", "deviceId", "issuedDate", "expirationDate"} for session in listed)

    lost = tenant.path("devices", "sessions", listed[1]["id"])
    assert (await tenant.call("DELETE", lost)).json() == {"result": 1}
    assert (await tenant.verify(phone)).status_code == 400
    assert (await tenant.verify(laptop)).status_code == 200
    assert (await tenant.call("DELETE", lost)).status_code == 404
    assert (await feed.next()).data.reason == "revoked"


async def test_only_the_new_password_logs_in_after_a_change(tenant: Tenant) -> None:
    await tenant.create("changer")
    assert (await tenant.call("PATCH", tenant.path("changer"), json={"password": "new " + PASSWORD})).status_code == 200
    assert (await tenant.login("changer")).status_code == 403
    assert (await tenant.login("changer", "new " + PASSWORD)).status_code == 200


async def test_tenant_logout_is_announced_without_a_user(http: httpx.AsyncClient, tenant: Tenant, feed: Feed) -> None:
    assert (await http.post("/tenant/logout", json={"token": tenant.token})).status_code == 200
    event = await feed.next()
    assert (event.data.user, event.data.login) == (None, f"tenant:{tenant.email}")
    assert (await tenant.create("too late")).status_code == 401
