"""Every operation with every kind of credential, over AMQP and over HTTP: only the needed permission gets through."""

import base64
import functools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from shared.amqp.rpc_client import RpcClient
from shared.contracts import OPERATIONS
from shared.contracts.auth_verify import AUTH_VERIFY, AuthVerifyReply
from shared.contracts.errors import AuthError
from shared.contracts.event_list import EVENT_LIST
from shared.contracts.operation import Operation, TenantRequest
from tests.e2e.tenant import Tenant
from tests.office import open_office
from tests.permission_matrix import (
    ALIASES,
    PASSWORD,
    PROTECTED,
    Answer,
    Outcome,
    Present,
    Presented,
    Rows,
    Stores,
    World,
    check,
    operator_of_an_older_generation,
    operator_without_a_permission,
    operator_without_a_permission_that_names_an_unknown_tenant,
    request_of,
    rows,
    title,
)
from tests.requests import Accounts
from tests.service import RunningService
from worker.adapters.jwt_tokens import JwtTokens
from worker.adapters.mongo_database import MongoDatabase, connect
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.first_operator import OPERATORS_TENANT

#: The client of the broker lives on one loop for all tests.
pytestmark = pytest.mark.asyncio(loop_scope="session")

Json = dict[str, Any]
#: Written in the background: the last use of an account or key, and the announcement of an earlier revocation.
IN_BACKGROUND = ("last_active_at", "used_at", "outbox", "announced_at")


@dataclass(frozen=True)
class Setup:
    """The running service, its database, and the OpenAPI document of its edge."""

    database: MongoDatabase
    stores: Stores
    http: httpx.AsyncClient
    rpc: RpcClient
    document: Json

    async def state(self, tenant: str) -> list[Json]:
        """Return the documents of a tenant, its users and sessions."""
        found: list[Json] = []
        for name in ("tenants", "users", "sessions"):
            stored = self.database.collection(name).find({"$or": [{"_id": tenant}, {"tenant": tenant}]})
            found += sorted([document async for document in stored], key=lambda document: str(document["_id"]))
        for document in found:
            for holder in (document, document.get("key", {}), document.get("revocation", {})):
                for member in IN_BACKGROUND:
                    holder.pop(member, None)
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def setup(service: RunningService) -> AsyncIterator[Setup]:
    key_id, _, key = service.master_keys.partition(":")
    async with (
        connect(service.mongo_url) as database,
        httpx.AsyncClient(base_url=service.urls[0], timeout=60) as http,
        RpcClient([service.amqp_url], "permission matrix") as rpc,
    ):
        seed = await Tenant.register(http)
        await seed.create("seed", password=PASSWORD)
        user = await MongoUsers(database).find(seed.id, "seed")
        assert user is not None
        await open_office(database, functools.partial(_send, rpc))
        tokens = JwtTokens({key_id: base64.b64decode(key)}, "jincor-auth")
        stores = Stores(
            MongoTenants(database),
            MongoUsers(database),
            MongoSessions(database),
            tokens,
            user.password_hash,
            datetime.now(UTC),
            OPERATORS_TENANT,
        )
        yield Setup(database, stores, http, rpc, (await http.get("/openapi.json")).json())


async def _send(rpc: RpcClient, name: str, /, **fields: Any) -> Any:
    operation = OPERATIONS[name]
    return await rpc.call(operation, operation.request.model_validate(fields))


#: Rows of routes that ask for something else first.
EXCEPTIONS: dict[str, Rows] = {
    # It reads the caller's tenant first, and an operator without any permission may name none.
    "/events": {
        operator_without_a_permission: Outcome.ELSEWHERE,
        operator_without_a_permission_that_names_an_unknown_tenant: Outcome.ELSEWHERE,
    },
    # The edge sends it as a verification, which does not read the operator's user.
    "/introspect": {operator_of_an_older_generation: Outcome.FORBIDDEN},
}

Send = Callable[[Operation[Any, Any], Accounts, str | None], Awaitable[Answer]]


@dataclass(frozen=True)
class Way:
    """A transport: whether a request can name a tenant on it, and how it is sent."""

    name: str
    takes_tenant: bool
    send: Send
    exceptions: Rows = field(default_factory=dict)

    def rows(self, operation: Operation[Any, Any], *, allowed: bool) -> Rows:
        """Return the rows of the operation on this transport that are allowed, or refused."""
        every = rows(operation, takes_tenant=self.takes_tenant) | self.exceptions
        return {present: outcome for present, outcome in every.items() if (outcome is Outcome.ALLOWED) == allowed}


def over_amqp(setup: Setup, operation: Operation[Any, Any]) -> Way:
    async def send(operation: Operation[Any, Any], accounts: Accounts, on_tenant: str | None) -> Answer:
        request = operation.request.model_validate(request_of(operation, accounts, on_tenant))
        try:
            reply = await setup.rpc.call(operation, request)
            if isinstance(reply, AuthVerifyReply):
                reply.answers[0].unwrap()
        except AuthError as error:
            permission = (error.details or {}).get("permission")
            return Answer(error.code, str(permission) if permission else None, repr(error))
        return Answer(None, None, reply.model_dump_json())

    return Way("AMQP", issubclass(operation.request, TenantRequest), send)


@dataclass(frozen=True)
class Route:
    """A route of the OpenAPI document."""

    method: str
    path: str
    parameters: Sequence[Json]
    media_type: str | None
    """The media type of the body. None: the route has no body."""

    def request(self, fields: Json) -> Json:
        """Return the arguments of a request with these members of the operation's request."""
        fields = dict(fields)
        if "onTenant" in fields:  # only in the path
            fields["id"] = fields.pop("onTenant")
        path = re.sub(r"\{(\w+)\}", lambda found: str(fields.pop(_camel(found[1]))), self.path)
        where = {"application/json": "json", "application/x-www-form-urlencoded": "data", None: "params"}
        return {"method": self.method, "url": path, where[self.media_type]: fields}

    @property
    def takes_tenant(self) -> bool:
        return any(each["name"] == "X-Tenant-ID" for each in self.parameters)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def routes_of(document: Json, operation: str) -> list[Route]:
    """Return the routes of an operation, those outside the document included."""
    found = []
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            if route["operationId"] == operation:
                (media_type,) = route.get("requestBody", {}).get("content", {}) or (None,)
                found.append(Route(method.upper(), path, route.get("parameters", ()), media_type))
                found += [
                    Route(method.upper(), alias, route.get("parameters", ()), media_type)
                    for alias, original in ALIASES.items()
                    if original == path
                ]
    return found


def over_http(setup: Setup, route: Route) -> Way:
    async def send(operation: Operation[Any, Any], accounts: Accounts, on_tenant: str | None) -> Answer:
        fields = request_of(operation, accounts, None)
        (fields,) = fields["checks"] if operation is AUTH_VERIFY else (fields,)
        del fields["tenantToken"]
        fields = fields.get("settings", fields)  # the whole body
        headers = {"Authorization": f"Bearer {accounts.tenant_token}"}
        if on_tenant is not None:
            headers["X-Tenant-ID"] = on_tenant
        async with setup.http.stream(**route.request(fields), headers=headers) as response:
            if operation is EVENT_LIST and response.is_success:  # an open-ended stream
                return Answer(None, None, "")
            text = (await response.aread()).decode()
        if response.is_success:
            return Answer(None, None, text)
        problem = json.loads(text)
        assert response.status_code == {"forbidden": 403, "invalid_tenant_token": 401}.get(
            problem["code"], response.status_code
        )
        return Answer(problem["code"], problem.get("details", {}).get("permission"), text)

    return Way(f"{route.method} {route.path}", route.takes_tenant, send, EXCEPTIONS.get(route.path, {}))


@dataclass
class Prepared:
    """A request with a credential, and its expected outcome."""

    way: Way
    present: Present
    outcome: Outcome
    presented: Presented
    accounts: Accounts
    answer: Answer | None = field(default=None)

    async def ask(self, operation: Operation[Any, Any], world: World) -> None:
        """Send the request, and check the answer."""
        answer = await self.way.send(operation, self.accounts, self.presented.on_tenant)
        try:
            check(self.outcome, answer, operation, world)
        except AssertionError as error:
            error.add_note(f"{title(self.present)} over {self.way.name}")
            raise


async def prepared(world: World, operation: Operation[Any, Any], way: Way, wanted: Rows) -> list[Prepared]:
    assert operation.permission is not None
    made = []
    for present, outcome in wanted.items():
        presented = await present(world, operation.permission)
        accounts = await world.accounts(presented.credential)
        made.append(Prepared(way, present, outcome, presented, accounts))
    return made


def ways(setup: Setup, operation: Operation[Any, Any]) -> list[Way]:
    routes = routes_of(setup.document, operation.name)
    assert routes, "the operation has no route"
    return [over_amqp(setup, operation), *(over_http(setup, route) for route in routes)]


@pytest.mark.parametrize("operation", PROTECTED.values(), ids=PROTECTED)
async def test_operation_refuses_credentials_without_its_permission(
    setup: Setup, operation: Operation[Any, Any]
) -> None:
    """The refused requests change nothing of the tenant."""
    world, requests = await World.begin(setup.stores), list[Prepared]()
    for way in ways(setup, operation):
        requests += await prepared(world, operation, way, way.rows(operation, allowed=False))
    before = await setup.state(world.shop.id)
    for request in requests:
        await request.ask(operation, world)
    assert await setup.state(world.shop.id) == before


@pytest.mark.parametrize("operation", PROTECTED.values(), ids=PROTECTED)
async def test_operation_accepts_each_credential_with_its_permission(
    setup: Setup, operation: Operation[Any, Any]
) -> None:
    for way in ways(setup, operation):
        for row in way.rows(operation, allowed=True).items():
            world = await World.begin(setup.stores)  # the request may delete ann
            (request,) = await prepared(world, operation, way, dict([row]))
            await request.ask(operation, world)
