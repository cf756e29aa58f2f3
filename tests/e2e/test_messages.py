"""docs/asyncapi.json held against what is really on the wire: all that anybody publishes while the service is used.

The client, the edges and the workers speak, and the broker's own tracer listens. So these are the messages of the
service, and not ones that a test made up.
"""

import contextlib
import json
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aio_pika
import httpx
import pytest
import pytest_asyncio
from pydantic import ConfigDict
from yarl import URL

from dev.asyncapi.document import document
from shared.amqp.feed import PROBE_TYPE
from shared.amqp.rpc_client import RpcClient
from shared.amqp.topology import EVENTS_EXCHANGE, SUBSCRIBERS_KEYS, declare_exchanges
from shared.contracts import OPERATIONS
from shared.contracts.errors import (
    AuthError,
    ErrorCode,
    InvalidCredentials,
    InvalidTenantToken,
    InvalidToken,
    Throttled,
    UserNotFound,
)
from shared.contracts.events import SESSION_REVOKED, RevocationReason
from shared.contracts.health import HEALTH
from shared.contracts.wire import WireModel
from tests.backends import Backend
from tests.conformance import Declared, Undeclared
from tests.e2e.tenant import PASSWORD, Tenant
from tests.firehose import Published, all_answered, open_firehose
from tests.service import RunningService

Traffic = list[tuple[str, Published]]

#: After so many guesses one has to wait for longer than any machine takes for a guess.
GUESSES = 20
STRANGER = "203.0.113.7"
#: Valid members of requests that are refused for another reason.
MEMBERS = {
    "tenantToken": "no token",
    "token": "no token",
    "login": "nobody",
    "password": PASSWORD,
    "email": "ann@users.test",
    "currentPassword": "not the password",
    "registrationKey": "not the key",
    "deviceId": "phone",
    "sessionId": "none",
}


class Unchecked(WireModel):
    """A request whose members the client does not look at, so that the worker does."""

    model_config = ConfigDict(extra="allow")


class Neighbour:
    """A service on the broker: calls by name, with the members of the request, and the reply as JSON."""

    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc

    async def call(self, operation: str, **members: Any) -> dict[str, Any]:
        request = OPERATIONS[operation].request.model_validate(members)
        reply: WireModel = await self._rpc.call(OPERATIONS[operation], request, request_id=uuid.uuid4().hex)
        return reply.model_dump(mode="json")

    async def refused(self, code: ErrorCode, operation: str, **members: Any) -> None:
        """With these members, and those of `MEMBERS` where it has others."""
        await self.refused_exactly(code, operation, **_members(operation) | members)

    async def refused_exactly(self, code: ErrorCode, operation: str, **members: Any) -> None:
        """With these members and no others."""
        with pytest.raises(AuthError) as refusal:
            await self._rpc.call(OPERATIONS[operation], Unchecked.model_validate(members))
        assert refusal.value.code == code

    async def throttled(self, operation: str, **members: Any) -> None:
        """Guesses with these members and no others until it has to wait; from where nobody else is kept waiting."""
        for _ in range(GUESSES):
            with contextlib.suppress(AssertionError):
                return await self.refused_exactly(ErrorCode.THROTTLED, operation, **members, clientAddress=STRANGER)
        raise AssertionError("one may guess without end")


def _members(operation: str) -> dict[str, str]:
    fields = {field.alias for field in OPERATIONS[operation].request.model_fields.values()}
    return {name: value for name, value in MEMBERS.items() if name in fields}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def traffic(backend: Backend, service: RunningService) -> AsyncIterator[Traffic]:
    """Everything on the wire while each operation is used, with the names that the document has for it."""
    async with open_firehose(backend, service.amqp_url) as firehose:
        async with RpcClient([service.amqp_url], "a neighbour") as rpc:
            assert await rpc.wait_connected(30)
            await _use_everything(Neighbour(rpc))
        async with httpx.AsyncClient(base_url=service.urls[0], timeout=30) as http:
            await _use_the_edge(await Tenant.register(http))
        await firehose.wait_for(_complete)
    yield Declared(document()).identify(firehose.published)


async def _use_everything(neighbour: Neighbour) -> None:
    registration = {"email": f"{uuid.uuid4().hex}@tenant.test", "password": PASSWORD}
    await neighbour.refused(ErrorCode.REGISTRATION_FORBIDDEN, "tenant.register", **registration)
    key = {"registrationKey": "let-me-in-please"}
    tenant = {"tenantToken": (await neighbour.call("tenant.register", **registration, **key))["token"]}
    await neighbour.refused(ErrorCode.EMAIL_TAKEN, "tenant.register", **registration, **key)
    token = (await neighbour.call("tenant.login", **registration))["token"]
    await neighbour.call("tenant.verify", token=token)
    await neighbour.call("tenant.logout", token=token)

    ann = {**tenant, "login": "ann"}
    password = {"password": PASSWORD}
    await neighbour.refused(ErrorCode.INVALID_REQUEST, "user.create", **ann, email="nowhere")
    await neighbour.call("user.create", **ann, **password, email="ann@users.test", scope={"company": ["read"]})
    await neighbour.refused(ErrorCode.LOGIN_TAKEN, "user.create", **ann)
    await neighbour.call("user.update", **ann, scope="company:read", sub="42")
    await neighbour.call("user.list", **tenant, q="AN")
    await neighbour.call("user.get", **ann)

    async def login(device: str) -> str:
        token: str = (await neighbour.call("auth.login", **ann, **password, deviceId=device))["accessToken"]
        return token

    tokens = [await login(device) for device in ("laptop", "phone", "tablet", "watch")]
    checks = [{**tenant, "token": tokens[0]}, {**tenant, "token": "no token"}, {"tenantToken": "none", "token": "none"}]
    await neighbour.call("auth.verify", checks=[{**check, "requestId": "a.question"} for check in checks])
    await neighbour.call("token.introspect", **tenant, token=tokens[0])
    await neighbour.call("token.introspect", **tenant, token="no token")

    await neighbour.call("auth.logout", **tenant, token=tokens[0])
    await neighbour.call("token.revoke", **tenant, token=tokens[1])
    await neighbour.refused(ErrorCode.UNSUPPORTED_TOKEN_TYPE, "token.revoke", **tenant, token=tenant["tenantToken"])
    session = (await neighbour.call("session.list", **ann))["sessions"][0]["id"]
    await neighbour.call("session.revoke", **ann, sessionId=session)
    await neighbour.refused(ErrorCode.SESSION_NOT_FOUND, "session.revoke", **ann, sessionId=session)
    await neighbour.call("session.revoke_all", **ann)
    await login("to end with its password")
    await neighbour.call("user.update", **ann, **password)
    await login("to end with its user")
    await neighbour.call("user.delete", **ann)
    await neighbour.call("event.list", **tenant)
    await neighbour.call("audit.list", **tenant, type="auth.login", login="ann")
    for health in HEALTH.values():
        await neighbour.call(health.name)

    # Of two the proof is of its own kind; see `_end_it`.
    own_proof = {"tenant.disable", "tenant.delete"}
    for name, operation in ((name, each) for name, each in OPERATIONS.items() if name not in own_proof):
        if InvalidTenantToken in operation.errors and name != "auth.verify":
            await neighbour.refused(ErrorCode.INVALID_TENANT_TOKEN, name)
        own = tenant if "tenant_token" in operation.request.model_fields else {}
        for error in (UserNotFound, InvalidCredentials, InvalidToken):
            if error in operation.errors and name != "auth.verify":
                await neighbour.refused(error.code, name, **own)
        if Throttled in operation.errors:
            await neighbour.throttled(name, **_members(name) | own)
    await _end_it(neighbour, tenant, registration, key)


async def _end_it(
    neighbour: Neighbour, tenant: dict[str, str], registration: dict[str, str], key: dict[str, str]
) -> None:
    """What a tenant and an operator do about the tenant itself."""
    proofs = ("tenant.disable", "tenant.delete")
    password = {"password": PASSWORD}
    by_key = {"email": registration["email"], **key}
    for name in proofs:
        await neighbour.refused_exactly(ErrorCode.INVALID_TENANT_TOKEN, name, tenantToken="none", **password)
        await neighbour.refused_exactly(ErrorCode.INVALID_CREDENTIALS, name, **tenant, password="not the password")
        await neighbour.throttled(name, **tenant, password="not the password")
    tenant = {"tenantToken": (await neighbour.call("tenant.update", **tenant, currentPassword=PASSWORD))["token"]}
    await neighbour.call("tenant.disable", **tenant, **password)
    await neighbour.call("tenant.enable", **by_key)
    tenant = {"tenantToken": (await neighbour.call("tenant.login", **registration))["token"]}
    await neighbour.call("tenant.delete", **tenant, **password)
    for name in (*proofs, "tenant.enable"):
        await neighbour.refused_exactly(ErrorCode.TENANT_NOT_FOUND, name, **by_key)


async def _use_the_edge(tenant: Tenant) -> None:
    await tenant.create("bob", scope="all")
    token = await tenant.token_of("bob")
    assert (await tenant.verify(token)).is_success
    assert (await tenant.logout(token)).is_success
    assert (await tenant.http.get("/health/ready")).is_success


def _complete(published: Sequence[Published]) -> bool:
    """Whether all that was asked for has been traced, an event for every reason there is, and a probe of an edge.

    But for the limit of sessions, of which this service has none.
    """
    types = {message.properties.get("type") for message in published}
    events = [message for message in published if message.properties.get("type") == SESSION_REVOKED]
    reasons = {json.loads(event.body)["data"]["reason"] for event in events}
    return (
        all_answered(published)
        and PROBE_TYPE in types
        and reasons == set(RevocationReason) - {RevocationReason.SESSION_LIMIT}
    )


async def test_every_message_is_declared_and_every_operation_was_used(traffic: Traffic) -> None:
    """Each request, reply, error and event fits one message of the document; none of the document's was left out."""
    seen = {name for name, _ in traffic}
    # Some errors of an operation are declared for all of them, and happen seldom.
    expected = {name for name in document()["components"]["messages"] if not name.endswith(".error")}
    assert expected - seen == set()


async def test_every_error_of_an_operation_was_answered(traffic: Traffic) -> None:
    """An operation that declares an error has it; what is declared for all of them is not asked of each."""
    codes: dict[str, set[str]] = defaultdict(set)
    for name, message in traffic:
        if name.endswith(".error"):
            codes[name.removesuffix(".error")].add(json.loads(message.body)["code"])
        elif name == "auth.verify.reply":
            answers = json.loads(message.body)["answers"]
            codes["auth.verify"] |= {answer["error"]["code"] for answer in answers if "error" in answer}
    for name, operation in OPERATIONS.items():
        assert {error.code for error in operation.errors} <= codes[name], name


async def test_the_broker_has_what_the_document_says(backend: Backend, service: RunningService) -> None:
    """Exchanges and queues, and which operation goes where, are those that the workers have declared."""
    described = document()

    async def table(*arguments: str) -> set[tuple[str, ...]]:
        lines = await backend.ctl(["-p", URL(service.amqp_url).path.removeprefix("/"), *arguments])
        return {tuple(line.split("\t")) for line in lines.splitlines()}

    exchanges = await table("list_exchanges", "name", "type", "durable", "auto_delete")
    for binding in described["components"]["channelBindings"].values():
        exchange = binding["amqp"]["exchange"]
        # The default exchange is one of the type `direct` to RabbitMQ.
        kind = exchange["type"].replace("default", "direct")
        assert (exchange["name"], kind, *(_word(exchange[key]) for key in ("durable", "autoDelete"))) in exchanges
    bindings = await table("list_bindings", "source_name", "routing_key", "destination_name")
    calls = {name: call for name, call in described["operations"].items() if call["action"] == "receive"}
    assert {each for each in bindings if each[0] == "rpc"} == {
        *(("rpc", described["channels"][name]["address"], call["x-queue"]) for name, call in calls.items()),
        ("rpc", SUBSCRIBERS_KEYS, EVENTS_EXCHANGE),
    }


def _word(value: bool) -> str:
    return str(value).lower()


async def test_what_is_not_declared_is_seen_and_refused(backend: Backend, amqp_url: str) -> None:
    """A message that the document does not have does not slip through the tracer or the check."""
    declared = Declared(document())
    async with open_firehose(backend, amqp_url) as firehose, await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        rpc, events = await declare_exchanges(channel)
        message = aio_pika.Message(b'{"login": "ann"}', content_type="application/json", type="user.delete")
        for exchange, key in ((rpc, "user.delete"), (rpc, "user.promote"), (events, "session.revoked.t")):
            await exchange.publish(message, key, mandatory=False)
        await firehose.wait_for(lambda published: len(published) == 3)
    for published in firehose.published:
        with pytest.raises(Undeclared):
            declared.identify([published])
