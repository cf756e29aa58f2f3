"""The OpenAPI document: complete, consistent, and made of what the contracts say."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from api.errors import HTTP_ANSWERS, Problem
from api.examples import EXAMPLES
from api.main import create_app
from api.oauth_clients import TokenForm
from api.routes.auth import AuthVerified, AuthVerifyBody
from api.settings import Settings
from shared.contracts import OPERATIONS
from shared.contracts.auth_login import AuthLoginBody
from shared.contracts.auth_logout import AuthLogoutBody
from shared.contracts.authority import AuthorityBody
from shared.contracts.health import HEALTH
from shared.contracts.tenant_enable import TenantEnableBody
from shared.contracts.tenant_login import TenantLoginBody
from shared.contracts.tenant_register import TenantRegisterBody
from shared.contracts.tenant_update import TenantUpdateBody
from shared.contracts.user_create import UserCreateBody
from shared.contracts.user_update import UserUpdateBody

Json = dict[str, Any]

#: Operations whose body over HTTP is not the whole request.
BODIES: dict[str, type[BaseModel]] = {
    "tenant.register": TenantRegisterBody,
    "tenant.login": TenantLoginBody,
    "tenant.update": TenantUpdateBody,
    "tenant.disable": AuthorityBody,
    "tenant.enable": TenantEnableBody,
    "tenant.delete": AuthorityBody,
    "user.create": UserCreateBody,
    "user.update": UserUpdateBody,
    "auth.login": AuthLoginBody,
    "auth.verify": AuthVerifyBody,
    "auth.logout": AuthLogoutBody,
    "token.introspect": TokenForm,
    "token.revoke": TokenForm,
}
#: Operations whose refusals are in the words of OAuth 2.0: an invalid request is a 400, as JSON.
OAUTH = {"token.introspect", "token.revoke"}
OAUTH_STATUSES = {"400", "401", "408", "413", "415"}
OVER_HTTP = OPERATIONS.keys() - {operation.name for operation in HEALTH.values()}


@pytest.fixture(scope="module")
def document() -> Json:
    return create_app(Settings(amqp_url="amqp://broker.invalid")).openapi()


@pytest.fixture(scope="module")
def routes(document: Json) -> dict[str, Json]:
    """What the document says of each operation, by operation id."""
    return {route["operationId"]: route for path in document["paths"].values() for route in path.values()}


def nodes(value: object) -> Iterator[Json]:
    """Every object in a JSON document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def test_each_operation_has_a_route(routes: dict[str, Json]) -> None:
    """Every operation can be reached over HTTP, under its own name."""
    assert routes.keys() == OVER_HTTP | {"health.live", "health.ready"}


@pytest.mark.parametrize("name", sorted(OVER_HTTP))
def test_each_status_is_documented(routes: dict[str, Json], name: str) -> None:
    """A route states the status of each error that its operation, its input or the way there can end with."""
    route = routes[name]
    expected = {str(HTTP_ANSWERS[error.code].status) for error in OPERATIONS[name].errors}
    expected |= {"200", "422", "429", "500", "503", "504"}
    if "requestBody" in route:
        expected |= {"400", "408", "413", "415"}
    if name in OAUTH:
        expected -= {"422"}

    assert route["responses"].keys() == expected
    for status, response in route["responses"].items():
        media_type = "application/problem+json"
        if status == "200":
            media_type = "text/event-stream" if name == "event.list" else "application/json"
        elif name in OAUTH and status in OAUTH_STATUSES:
            media_type = "application/json"
        assert response["content"].keys() == {media_type}
        assert response["content"][media_type]["schema"]


@pytest.mark.parametrize("name", sorted(OVER_HTTP))
def test_each_error_has_an_example(routes: dict[str, Json], name: str) -> None:
    """Each code that a route may answer is shown, and shown under its status."""
    responses = routes[name]["responses"]
    for error in OPERATIONS[name].errors:
        (content,) = responses[str(HTTP_ANSWERS[error.code].status)]["content"].values()
        example = content["examples"][error.code]["value"]
        assert Problem.model_validate(example).code == error.code


@pytest.mark.parametrize("name", sorted(OVER_HTTP))
def test_examples_keep_the_contract(routes: dict[str, Json], name: str) -> None:
    """The examples are valid requests and replies."""
    example, operation = EXAMPLES[name], OPERATIONS[name]
    reply = AuthVerified if name == "auth.verify" else operation.reply
    assert reply.model_validate(example.reply).model_dump(mode="json", exclude_unset=True) == example.reply
    assert ("requestBody" in routes[name]) == (example.body is not None)
    if example.body is not None:
        BODIES.get(name, operation.request).model_validate(example.body)


def test_tenant_token_is_asked_for(routes: dict[str, Json], document: Json) -> None:
    """The routes that need a tenant token say so, and no other does."""
    secured = {name for name, route in routes.items() if {"tenantToken": []} in route.get("security", [])}

    assert secured == {name for name in OVER_HTTP if "tenant_token" in OPERATIONS[name].request.model_fields} | {
        "auth.verify"
    }
    assert document["components"]["securitySchemes"]["tenantToken"]["scheme"] == "bearer"


def test_structure(document: Json) -> None:
    """The document is OpenAPI 3.1, all its references lead somewhere, and the framework's own errors are not in it."""
    assert document["openapi"].startswith("3.1")
    assert document["info"].keys() >= {"title", "version", "description"}
    schemas = document["components"]["schemas"]
    references = {node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)}
    assert {reference.removeprefix("#/components/schemas/") for reference in references} <= schemas.keys()
    assert "Problem" in schemas
    assert "ValidationError" not in str(document)
    tags = {tag["name"] for tag in document["tags"]}
    assert all(set(route["tags"]) <= tags for path in document["paths"].values() for route in path.values())


async def test_document_is_served(edge: httpx.AsyncClient) -> None:
    """The document and its reader are where everybody looks for them."""
    assert (await edge.get("/openapi.json")).json()["info"]["title"] == "Jincor Auth"
    assert "/openapi.json" in (await edge.get("/docs")).text
