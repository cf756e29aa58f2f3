"""The OpenAPI document: complete, consistent, and equal to the contracts."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from api.errors import HTTP_ANSWERS, Problem
from api.examples import EXAMPLES
from api.main import create_app
from api.oauth_clients import GrantForm, TokenForm
from api.routes.auth import AuthVerified, AuthVerifyBody
from api.settings import Settings
from shared.contracts import OPERATIONS
from shared.contracts.auth_login import AuthLoginBody
from shared.contracts.auth_logout import AuthLogoutBody
from shared.contracts.authority import AuthorityBody
from shared.contracts.health import HEALTH
from shared.contracts.key_create import KeyCreateBody
from shared.contracts.key_rotate import KeyRotateBody
from shared.contracts.operator_set_password import OperatorSetPasswordBody
from shared.contracts.operator_update import OperatorUpdateBody
from shared.contracts.settings_update import SettingsPatch
from shared.contracts.tenant_complete_reset import TenantCompleteResetBody
from shared.contracts.tenant_enable import TenantEnableBody
from shared.contracts.tenant_login import TenantLoginBody
from shared.contracts.tenant_register import TenantRegisterBody
from shared.contracts.tenant_update import TenantUpdateBody
from shared.contracts.user_create import UserCreateBody
from shared.contracts.user_update import UserUpdateBody

Json = dict[str, Any]

#: Operations whose HTTP body is not the whole request.
BODIES: dict[str, type[BaseModel]] = {
    "tenant.register": TenantRegisterBody,
    "tenant.login": TenantLoginBody,
    "tenant.update": TenantUpdateBody,
    "tenant.disable": AuthorityBody,
    "tenant.enable": TenantEnableBody,
    "tenant.delete": AuthorityBody,
    "tenant.complete_reset": TenantCompleteResetBody,
    "settings.update": SettingsPatch,
    "user.create": UserCreateBody,
    "user.update": UserUpdateBody,
    "auth.login": AuthLoginBody,
    "auth.verify": AuthVerifyBody,
    "auth.logout": AuthLogoutBody,
    "token.introspect": TokenForm,
    "key.create": KeyCreateBody,
    "key.rotate": KeyRotateBody,
    "token.revoke": TokenForm,
    "oauth.token": GrantForm,
    "operator.login": AuthLoginBody,
    "operator.set_password": OperatorSetPasswordBody,
    "operator.update": OperatorUpdateBody,
}
#: Operations with OAuth 2.0 errors: an invalid request is a 400, as JSON.
OAUTH = {"token.introspect", "token.revoke", "oauth.token"}
OAUTH_STATUSES = {"400", "401", "403", "408", "413", "415"}
#: Second routes of operations, on which an operator's token is the whole proof.
BY_OPERATOR = {f"{name}_by_operator" for name, operation in OPERATIONS.items() if operation.of_operator}
OVER_HTTP = OPERATIONS.keys() - {operation.name for operation in HEALTH.values()}


@pytest.fixture(scope="module")
def document() -> Json:
    return create_app(Settings(amqp_url="amqp://broker.invalid")).openapi()


@pytest.fixture(scope="module")
def routes(document: Json) -> dict[str, Json]:
    """Return the routes of the document by operation id."""
    return {
        route["operationId"]: route
        for path in document["paths"].values()
        for route in path.values()
        if route["operationId"] not in BY_OPERATOR
    }


def nodes(value: object) -> Iterator[Json]:
    """Yield every object in a JSON document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def test_operation_has_a_route_under_its_name(routes: dict[str, Json]) -> None:
    assert routes.keys() == OVER_HTTP | {"health.live", "health.ready"}


@pytest.mark.parametrize("name", sorted(OVER_HTTP))
def test_route_documents_exactly_its_possible_statuses(routes: dict[str, Json], name: str) -> None:
    """The statuses come from the operation's errors, its input and the edge itself."""
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
def test_error_of_an_operation_has_an_example_under_its_status(routes: dict[str, Json], name: str) -> None:
    responses = routes[name]["responses"]
    for error in OPERATIONS[name].errors:
        (content,) = responses[str(HTTP_ANSWERS[error.code].status)]["content"].values()
        example = content["examples"][error.code]["value"]
        assert Problem.model_validate(example).code == error.code


@pytest.mark.parametrize("name", sorted(OVER_HTTP))
def test_example_is_a_valid_request_and_reply(routes: dict[str, Json], name: str) -> None:
    example, operation = EXAMPLES[name], OPERATIONS[name]
    reply = AuthVerified if name == "auth.verify" else operation.reply
    assert reply.model_validate(example.reply).model_dump(mode="json", exclude_unset=True) == example.reply
    assert ("requestBody" in routes[name]) == (example.body is not None)
    if example.body is not None:
        BODIES.get(name, operation.request).model_validate(example.body)


def test_route_requires_a_tenant_token_exactly_where_its_contract_does(routes: dict[str, Json], document: Json) -> None:
    secured = {name for name, route in routes.items() if {"tenantToken": []} in route.get("security", [])}
    with_token = {name for name in OVER_HTTP if "tenant_token" in OPERATIONS[name].request.model_fields}
    # An operator's token enables a tenant on another route, without the body.
    assert secured == with_token - {"tenant.enable"} | {"auth.verify"}
    assert document["components"]["securitySchemes"]["tenantToken"]["scheme"] == "bearer"


def test_document_is_openapi_3_1_with_resolved_references(document: Json) -> None:
    """The framework's own error models are absent."""
    assert document["openapi"].startswith("3.1")
    assert document["info"].keys() >= {"title", "version", "description"}
    schemas = document["components"]["schemas"]
    references = {node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)}
    assert {reference.removeprefix("#/components/schemas/") for reference in references} <= schemas.keys()
    assert "Problem" in schemas
    assert "ValidationError" not in str(document)
    tags = {tag["name"] for tag in document["tags"]}
    assert all(set(route["tags"]) <= tags for path in document["paths"].values() for route in path.values())


async def test_document_and_docs_page_are_served(edge: httpx.AsyncClient) -> None:
    assert (await edge.get("/openapi.json")).json()["info"]["title"] == "Jincor Auth"
    assert "docs/start.js" in (await edge.get("/docs")).text


def test_operators_route_of_an_operation_requires_a_token_and_no_body(document: Json) -> None:
    found = {route["operationId"]: route for path in document["paths"].values() for route in path.values()}
    for name in BY_OPERATOR:
        assert {"tenantToken": []} in found[name]["security"]
        assert {} not in found[name]["security"]
        assert "requestBody" not in found[name]
