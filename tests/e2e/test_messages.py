"""docs/asyncapi.json compared with every message on the wire while the service is used.

The client, the edges and the workers publish the messages; the broker's own tracer records them.
"""

import contextlib
import functools
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
    Forbidden,
    InvalidCredentials,
    InvalidTenantToken,
    InvalidToken,
    KeyNotFound,
    TenantNotFound,
    Throttled,
    UserNotFound,
)
from shared.contracts.events import SESSION_REVOKED, RevocationReason
from shared.contracts.health import HEALTH
from shared.contracts.key_create import MAX_KEYS
from shared.contracts.key_rotate import MAX_LIVE_SECRETS
from shared.contracts.operator_login import OPERATOR_LOGIN
from shared.contracts.permissions import TENANT_PERMISSIONS
from shared.contracts.wire import WireModel
from tests.backends import Backend
from tests.conformance import Declared, Undeclared
from tests.e2e.tenant import PASSWORD, Tenant
from tests.firehose import Published, all_answered, open_firehose
from tests.office import Office, open_office
from tests.service import RunningService
from worker.adapters.mongo_database import connect

Traffic = list[tuple[str, Published]]

#: After this many attempts the wait is longer than any machine takes for an attempt.
MAX_ATTEMPTS = 20
UNKNOWN_ORIGIN = "203.0.113.7"
#: Valid members of requests that are refused for another reason.
MEMBERS: dict[str, Any] = {
    "tenantToken": "no token",
    "token": "no token",
    "login": "nobody",
    "password": PASSWORD,
    "email": "ann@users.test",
    "currentPassword": "not the password",
    "registrationKey": "not the key",
    "deviceId": "phone",
    "sessionId": "none",
    "id": "none",
    "name": "gateway",
    "permissions": ["events:read"],
    "settings": {"maxKeyLifetimeDays": 90},
    "q": "ann",
}
#: Operations that need an operator, or a code from one; see `_use_operators`.
OF_OPERATORS = frozenset(
    {name for name in OPERATIONS if name.startswith("operator.")}
    | {"tenant.list", "tenant.get", "tenant.revoke_sessions", "tenant.reset", "tenant.complete_reset"}
    | {"user.search", "audit.search"}
)


class Unchecked(WireModel):
    """A request that the client does not validate, so that the worker does."""

    model_config = ConfigDict(extra="allow")


class Service:
    """A service on the broker that calls operations by name and returns the reply as JSON."""

    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc

    async def call(self, operation: str, message_id: str | None = None, /, **members: Any) -> dict[str, Any]:
        request = OPERATIONS[operation].request.model_validate(members)
        reply: WireModel = await self._rpc.call(
            OPERATIONS[operation], request, message_id=message_id, request_id=uuid.uuid4().hex
        )
        return reply.model_dump(mode="json")

    async def refused(self, code: ErrorCode, operation: str, /, **members: Any) -> None:
        """Require a refusal of these members, completed from `MEMBERS`."""
        await self.refused_exactly(code, operation, **_members(operation) | members)

    async def refused_exactly(self, code: ErrorCode, operation: str, /, **members: Any) -> None:
        """Require a refusal of exactly these members."""
        with pytest.raises(AuthError) as refusal:
            await self._rpc.call(OPERATIONS[operation], Unchecked.model_validate(members))
        assert refusal.value.code == code

    async def throttled(self, operation: str, /, **members: Any) -> None:
        """Send wrong attempts from an unknown origin until the operation is throttled."""
        names_address = "client_address" in OPERATIONS[operation].request.model_fields
        origin = {"clientAddress": UNKNOWN_ORIGIN} if names_address else {}
        for _ in range(MAX_ATTEMPTS):
            with contextlib.suppress(AssertionError):
                return await self.refused_exactly(ErrorCode.THROTTLED, operation, **members, **origin)
        raise AssertionError("never throttled")


def _members(operation: str) -> dict[str, Any]:
    fields = {field.alias for field in OPERATIONS[operation].request.model_fields.values()}
    return {name: value for name, value in MEMBERS.items() if name in fields}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def traffic(backend: Backend, service: RunningService) -> AsyncIterator[Traffic]:
    """Record all messages while each operation is used, with the names that the document gives them."""
    async with open_firehose(backend, service.amqp_url) as firehose:
        async with RpcClient([service.amqp_url], "a service") as rpc:
            assert await rpc.wait_connected(30)
            await _use_everything(Service(rpc))
            async with connect(service.mongo_url) as database:
                office = await open_office(database, functools.partial(_send, rpc))
            await _use_operators(Service(rpc), office)
        async with httpx.AsyncClient(base_url=service.urls[0], timeout=30) as http:
            await _use_the_edge(await Tenant.register(http))
        await firehose.wait_for(_complete)
    yield Declared(document()).identify(firehose.published)


async def _send(rpc: RpcClient, name: str, /, **fields: Any) -> Any:
    return await rpc.call(OPERATIONS[name], OPERATIONS[name].request.model_validate(fields))


async def _use_everything(caller: Service) -> None:
    registration = {"email": f"{uuid.uuid4().hex}@tenant.test", "password": PASSWORD}
    await caller.refused(ErrorCode.REGISTRATION_FORBIDDEN, "tenant.register", **registration)
    key = {"registrationKey": "let-me-in-please"}
    tenant = {"tenantToken": (await caller.call("tenant.register", **registration, **key))["token"]}
    await caller.refused(ErrorCode.EMAIL_TAKEN, "tenant.register", **registration, **key)
    token = (await caller.call("tenant.login", **registration))["token"]
    await caller.call("tenant.verify", token=token)
    await caller.call("tenant.logout", token=token)

    ann = {**tenant, "login": "ann"}
    password = {"password": PASSWORD}
    await caller.refused(ErrorCode.INVALID_REQUEST, "user.create", **ann, email="nowhere")
    await caller.call("user.create", **ann, **password, email="ann@users.test", scope={"company": ["read"]})
    await caller.refused(ErrorCode.LOGIN_TAKEN, "user.create", **ann)
    await caller.call("user.update", **ann, scope="company:read", sub="42")
    await caller.call("user.list", **tenant, q="AN")
    await caller.call("user.get", **ann)
    await _use_keys(caller, tenant)
    await _manage_keys(caller, tenant)

    async def login(device: str) -> str:
        token: str = (await caller.call("auth.login", **ann, **password, deviceId=device))["accessToken"]
        return token

    tokens = [await login(device) for device in ("laptop", "phone", "tablet", "watch")]
    checks = [{**tenant, "token": tokens[0]}, {**tenant, "token": "no token"}, {"tenantToken": "none", "token": "none"}]
    await caller.call("auth.verify", checks=[{**check, "requestId": "a.question"} for check in checks])
    await caller.call("token.introspect", **tenant, token=tokens[0])
    await caller.call("token.introspect", **tenant, token="no token")

    await caller.call("auth.logout", **tenant, token=tokens[0])
    await caller.call("token.revoke", **tenant, token=tokens[1])
    await caller.refused(ErrorCode.UNSUPPORTED_TOKEN_TYPE, "token.revoke", **tenant, token=tenant["tenantToken"])
    session = (await caller.call("session.list", **ann))["sessions"][0]["id"]
    await caller.call("session.revoke", **ann, sessionId=session)
    await caller.refused(ErrorCode.SESSION_NOT_FOUND, "session.revoke", **ann, sessionId=session)
    await caller.call("session.revoke_all", **ann)
    await login("to end with its password")
    await caller.call("user.update", **ann, **password)
    await login("to end with its user")
    await caller.call("user.delete", **ann)
    await caller.call("event.list", **tenant)
    await caller.call("audit.list", **tenant, type="auth.login", login="ann")
    for health in HEALTH.values():
        await caller.call(health.name)

    # Three operations have a proof of their own; see `_end_tenant`.
    own_proof = {"tenant.disable", "tenant.enable", "tenant.delete", *OF_OPERATORS}
    for name, operation in ((name, each) for name, each in OPERATIONS.items() if name not in own_proof):
        if InvalidTenantToken in operation.errors and name != "auth.verify":
            await caller.refused(ErrorCode.INVALID_TENANT_TOKEN, name)
        own = tenant if "tenant_token" in operation.request.model_fields else {}
        for error in (UserNotFound, InvalidCredentials, InvalidToken):
            if error in operation.errors and name != "auth.verify":
                await caller.refused(error.code, name, **own)
        if Throttled in operation.errors:
            await caller.throttled(name, **_members(name) | own)
    await _end_tenant(caller, tenant, registration, key)


async def _use_keys(caller: Service, tenant: dict[str, str]) -> None:
    """Use a key of the tenant, and one that no operation accepts here: the broker knows no addresses."""
    await caller.call("principal.get", **tenant)
    await caller.call("settings.update", **tenant, settings={"maxKeyLifetimeDays": 90})
    await caller.call("settings.get", **tenant)
    create = {**tenant, "name": "gateway", "permissions": sorted(TENANT_PERMISSIONS)}
    key = await caller.call("key.create", **create)
    await caller.call("oauth.token", tenantToken=key["apiKey"], scope="users:read")
    await caller.refused(ErrorCode.INVALID_SCOPE, "oauth.token", tenantToken=key["apiKey"], scope="nonsense")
    local_key = await caller.call("key.create", **create, networks=["127.0.0.1/32"])
    await caller.call("auth.verify", checks=[{"tenantToken": local_key["apiKey"], "token": "no token"}])
    for name, operation in OPERATIONS.items():
        if operation.of_operator is not None:  # the only proof without a password or the registration key
            await caller.refused_exactly(ErrorCode.FORBIDDEN, name, tenantToken=local_key["apiKey"], onTenant="none")
        elif Forbidden in operation.errors and name not in {"auth.verify", *OF_OPERATORS}:
            await caller.refused(ErrorCode.FORBIDDEN, name, tenantToken=local_key["apiKey"])
    for each in (key, local_key):
        await caller.call("key.revoke", **tenant, id=each["key"]["id"])


async def _manage_keys(caller: Service, tenant: dict[str, str]) -> None:
    """Use the operations of API keys, also beyond the numbers of keys and of secrets."""
    create = {**tenant, "name": "gateway", "permissions": ["events:read"]}
    key = {"id": (await caller.call("key.create", "a message", **create))["key"]["id"]}
    for _ in range(MAX_LIVE_SECRETS - 1):
        await caller.call("key.rotate", **tenant, **key)
    await caller.refused(ErrorCode.KEY_LIMIT_REACHED, "key.rotate", **tenant, **key)
    for _ in range(MAX_KEYS - 1):
        await caller.call("key.create", **create)
    await caller.refused(ErrorCode.KEY_LIMIT_REACHED, "key.create", **tenant)
    assert len((await caller.call("key.list", **tenant))["keys"]) == MAX_KEYS
    await caller.call("key.revoke", **tenant, **key)
    with pytest.raises(KeyNotFound):
        await caller.call("key.create", "a message", **create)
    for name in ("key.rotate", "key.revoke"):
        await caller.refused(ErrorCode.KEY_NOT_FOUND, name, **tenant, **key)


async def _use_operators(caller: Service, office: Office) -> None:
    """Use the operations of operators on a new tenant, and each of their errors."""
    email, password = f"{uuid.uuid4().hex}@tenant.test", {"password": PASSWORD}
    shop = await caller.call("tenant.register", email=email, **password, registrationKey="let-me-in-please")
    by_operator, in_office = {"tenantToken": office.operator_token}, {"tenantToken": office.token}
    on_shop = {**by_operator, "onTenant": shop["id"]}
    for name, operation in ((name, OPERATIONS[name]) for name in sorted(OF_OPERATORS)):
        nowhere = {"onTenant": "none"} if "on_tenant" in operation.request.model_fields else {}
        if InvalidTenantToken in operation.errors:
            await caller.refused(ErrorCode.INVALID_TENANT_TOKEN, name, **nowhere)
        if Forbidden in operation.errors and operation is not OPERATOR_LOGIN:
            await caller.refused(ErrorCode.FORBIDDEN, name, tenantToken=shop["token"], onTenant=shop["id"])
        if TenantNotFound in operation.errors:
            await caller.refused(ErrorCode.TENANT_NOT_FOUND, name, **by_operator, **nowhere)
    key = await caller.call("key.create", **in_office, name="job", permissions=["users:read"])
    await caller.refused(ErrorCode.FORBIDDEN, "operator.login", tenantToken=key["apiKey"])
    await caller.refused(ErrorCode.INVALID_CREDENTIALS, "operator.login", **in_office)
    await caller.throttled("operator.login", **_members("operator.login") | in_office)
    await caller.refused(ErrorCode.USER_NOT_FOUND, "operator.update", **by_operator, login=uuid.uuid4().hex)

    await caller.call("operator.list", **by_operator)
    await caller.call("operator.update", **by_operator, login=office.colleague, permissions=["users:read"])
    await caller.call("tenant.list", **by_operator, q=email)
    await caller.call("tenant.get", **on_shop)
    await caller.call("user.search", **by_operator, q=office.operator)
    await caller.call("audit.search", **by_operator, login=office.operator)
    code = (await caller.call("tenant.reset", **on_shop))["code"]
    await caller.call("tenant.complete_reset", email=email, code=code, **password)
    wrong_code = {"email": email, "code": "none", **password}
    await caller.refused_exactly(ErrorCode.INVALID_CREDENTIALS, "tenant.complete_reset", **wrong_code)
    await caller.throttled("tenant.complete_reset", **wrong_code)
    await caller.call("tenant.revoke_sessions", **on_shop)

    new_password = "another fine password"
    await caller.call("operator.set_password", **by_operator, currentPassword=PASSWORD, password=new_password)
    login = {**in_office, "login": office.operator, "password": new_password, "deviceId": "laptop"}
    by_operator = {"tenantToken": (await caller.call("operator.login", **login))["accessToken"]}
    wrong = {**by_operator, "currentPassword": "not the password", **password}
    await caller.refused_exactly(ErrorCode.INVALID_CREDENTIALS, "operator.set_password", **wrong)
    await caller.throttled("operator.set_password", **wrong)
    await caller.call("operator.logout", **by_operator)


async def _end_tenant(
    caller: Service, tenant: dict[str, str], registration: dict[str, str], key: dict[str, str]
) -> None:
    """Use the operations of a tenant and an operator on the tenant itself."""
    proofs = ("tenant.disable", "tenant.delete")
    password = {"password": PASSWORD}
    by_key = {"email": registration["email"], **key}
    operator = {"tenantToken": "none", "onTenant": "none"}
    await caller.refused_exactly(ErrorCode.INVALID_TENANT_TOKEN, "tenant.enable", **operator)
    wrong_key = {"email": registration["email"], "registrationKey": "not the key"}
    await caller.refused_exactly(ErrorCode.INVALID_CREDENTIALS, "tenant.enable", **wrong_key)
    await caller.throttled("tenant.enable", **wrong_key)
    for name in proofs:
        await caller.refused_exactly(ErrorCode.INVALID_TENANT_TOKEN, name, tenantToken="none", **password)
        await caller.refused_exactly(ErrorCode.INVALID_CREDENTIALS, name, **tenant, password="not the password")
        await caller.throttled(name, **tenant, password="not the password")
    tenant = {"tenantToken": (await caller.call("tenant.update", **tenant, currentPassword=PASSWORD))["token"]}
    await caller.call("tenant.disable", **tenant, **password)
    await caller.call("tenant.enable", **by_key)
    tenant = {"tenantToken": (await caller.call("tenant.login", **registration))["token"]}
    await caller.call("tenant.delete", **tenant, **password)
    for name in (*proofs, "tenant.enable"):
        await caller.refused_exactly(ErrorCode.TENANT_NOT_FOUND, name, **by_key)


async def _use_the_edge(tenant: Tenant) -> None:
    await tenant.create("bob", scope="all")
    token = await tenant.token_of("bob")
    assert (await tenant.verify(token)).is_success
    assert (await tenant.logout(token)).is_success
    assert (await tenant.http.get("/health/ready")).is_success


def _complete(published: Sequence[Published]) -> bool:
    """Return whether every request is answered, every revocation reason announced, and an edge has probed.

    This service has no limit of sessions, so that reason is not expected.
    """
    types = {message.properties.get("type") for message in published}
    events = [message for message in published if message.properties.get("type") == SESSION_REVOKED]
    reasons = {json.loads(event.body)["data"]["reason"] for event in events}
    return (
        all_answered(published)
        and PROBE_TYPE in types
        and reasons == set(RevocationReason) - {RevocationReason.SESSION_LIMIT}
    )


async def test_wire_has_every_declared_message_and_no_other(traffic: Traffic) -> None:
    seen = {name for name, _ in traffic}
    # Some errors are declared for every operation and happen seldom.
    expected = {name for name in document()["components"]["messages"] if not name.endswith(".error")}
    assert expected - seen == set()


async def test_operation_answers_every_error_it_declares(traffic: Traffic) -> None:
    """Errors declared for all operations are not required of each."""
    codes: dict[str, set[str]] = defaultdict(set)
    for name, message in traffic:
        if name.endswith(".error"):
            codes[name.removesuffix(".error")].add(json.loads(message.body)["code"])
        elif name == "auth.verify.reply":
            answers = json.loads(message.body)["answers"]
            codes["auth.verify"] |= {answer["error"]["code"] for answer in answers if "error" in answer}
    for name, operation in OPERATIONS.items():
        assert {error.code for error in operation.errors} <= codes[name], name


async def test_broker_topology_equals_the_document(backend: Backend, service: RunningService) -> None:
    described = document()

    async def table(*arguments: str) -> set[tuple[str, ...]]:
        lines = await backend.ctl(["-p", URL(service.amqp_url).path.removeprefix("/"), *arguments])
        return {tuple(line.split("\t")) for line in lines.splitlines()}

    exchanges = await table("list_exchanges", "name", "type", "durable", "auto_delete")
    for binding in described["components"]["channelBindings"].values():
        exchange = binding["amqp"]["exchange"]
        # RabbitMQ lists the default exchange with the type `direct`.
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


async def test_undeclared_message_is_traced_and_rejected(backend: Backend, amqp_url: str) -> None:
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
