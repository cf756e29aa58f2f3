"""Dead means dead: through every edge and worker, from the moment the answer is there, and told to subscribers."""

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
    """Revocation events of one tenant as a subscriber gets them, with nothing of ours but the contract."""

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


async def test_a_token_is_refused_everywhere_once_its_logout_has_answered(
    service: RunningService, http: httpx.AsyncClient, tenant: Tenant
) -> None:
    """Right after the logout neither edge, and so neither worker behind them, accepts the token any more."""
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


async def test_logout_is_announced(tenant: Tenant, feed: Feed) -> None:
    """A subscriber learns which session of whom ended, why, and until when to remember it."""
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
async def test_whatever_ends_all_sessions_kills_each_token_and_announces_each(
    tenant: Tenant, feed: Feed, end: Any, reason: str
) -> None:
    """Revoking all, a new password and deletion end every session of the user, and nobody else's."""
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


async def test_one_session_is_revoked_and_the_others_live(tenant: Tenant, feed: Feed) -> None:
    """Sessions are listed newest first, without secrets, and each can be ended by its id."""
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


async def test_a_new_password_replaces_the_old_one(tenant: Tenant) -> None:
    """After a change only the new password logs in."""
    await tenant.create("changer")
    assert (await tenant.call("PATCH", tenant.path("changer"), json={"password": "new " + PASSWORD})).status_code == 200
    assert (await tenant.login("changer")).status_code == 403
    assert (await tenant.login("changer", "new " + PASSWORD)).status_code == 200


async def test_a_tenants_logout_is_announced_too(http: httpx.AsyncClient, tenant: Tenant, feed: Feed) -> None:
    """The end of a tenant's own session is an event without a user."""
    assert (await http.post("/tenant/logout", json={"token": tenant.token})).status_code == 200
    event = await feed.next()
    assert (event.data.user, event.data.login) == (None, f"tenant:{tenant.email}")
    assert (await tenant.create("too late")).status_code == 401
