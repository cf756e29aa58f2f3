"""Parts of the OpenAPI document that code generators and linters rely on."""

import json
from typing import Any

import pytest
from starlette.routing import Route

from api.examples import EXAMPLES
from api.main import create_app
from api.openapi import BY_OPERATOR
from api.settings import Settings
from shared.contracts import OPERATIONS
from shared.contracts.health import HEALTH
from tests.permission_matrix import ALIASES
from tests.unit.api.conftest import OpenEdge

Json = dict[str, Any]

#: Routes outside the document that call no operation of a worker: the documentation, and the methods and paths of the
#: forward route.
OF_THE_EDGE = {
    "/",
    "/docs",
    "/docs/{name}",
    "/docs/start.js",
    "/openapi.json",
    "/auth/forward",
    "/auth/forward/{appended:path}",
}


@pytest.fixture(scope="module")
def document() -> Json:
    settings = Settings(amqp_url="amqp://broker.invalid", forward_email="shop@example.com", forward_password="secret")
    return create_app(settings).openapi()


@pytest.fixture(scope="module")
def routes(document: Json) -> dict[str, Json]:
    """The routes of the document by operation id."""
    return {route["operationId"]: route for path in document["paths"].values() for route in path.values()}


def test_security_of_open_routes_is_an_empty_list(routes: dict[str, Json]) -> None:
    """Without `security`, linters and readers cannot tell an open route from an omission."""
    assert {name for name, route in routes.items() if route["security"] == []} == {
        "tenant.register",
        "tenant.login",
        "tenant.complete_reset",
        "tenant.verify",
        "tenant.logout",
        "tenant.enable",
        "health.live",
        "health.ready",
    }


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"event.list"}))
def test_example_of_a_reply_is_in_the_document_unchanged(routes: dict[str, Json], name: str) -> None:
    """FastAPI drops members that are null, so that an example would lack required members."""
    assert routes[name]["responses"]["200"]["content"]["application/json"]["example"] == EXAMPLES[name].reply


def test_scope_of_a_body_may_be_any_object(document: Json) -> None:
    scope = document["components"]["schemas"]["UserCreateBody"]["properties"]["scope"]
    assert {"type": "object", "additionalProperties": True} in scope["anyOf"]


def test_emails_in_bodies_have_a_format(document: Json) -> None:
    schemas = document["components"]["schemas"]
    members = (schema.get("properties", {}) for schema in schemas.values())
    assert [email["format"] for each in members if (email := each.get("email"))] == ["idn-email"] * 11


async def test_headers_of_forward_auth_are_those_of_the_document(open_edge: OpenEdge, routes: dict[str, Json]) -> None:
    documented = routes["auth.forward"]["responses"]
    async with open_edge(forward_email="shop@example.com", forward_password="secret") as edge:
        valid = await edge.get("/auth/forward", headers={"Authorization": "Bearer t"})
        invalid = await edge.get("/auth/forward")

    assert (valid.status_code, invalid.status_code) == (200, 401)
    assert {name for name in valid.headers if name.startswith("x-auth-")} == {
        name.lower() for name in documented["200"]["headers"]
    }
    assert documented["401"]["headers"].keys() == {"WWW-Authenticate"}
    assert "WWW-Authenticate" in invalid.headers


def test_every_route_states_the_permission_that_its_operation_needs(routes: dict[str, Json]) -> None:
    """In words for readers, and as a member for programs."""
    assert set(OPERATIONS) - set(routes) == {operation.name for operation in HEALTH.values()}
    for name, operation in OPERATIONS.items():
        shown = {name: operation.permission, f"{name}{BY_OPERATOR}": operation.of_operator}
        for route, permission in ((routes[each], needed) for each, needed in shown.items() if each in routes):
            assert route.get("x-permission") == permission
            assert route.get("x-second-permission") == operation.also_needs
            sentence = route["description"].rpartition("\n\n")[2]
            assert sentence.startswith("Needs the permission" if permission else "Needs no permission: ")
            assert all(f"`{each}`" in sentence for each in (permission, operation.also_needs) if each)
            if permission:
                assert "forbidden" in str(route["responses"]["403"])


def test_operation_that_operators_may_call_without_other_proof_has_a_route_for_them(routes: dict[str, Json]) -> None:
    of_operators = {f"{name}{BY_OPERATOR}" for name, operation in OPERATIONS.items() if operation.of_operator}
    assert {name for name in routes if name.endswith(BY_OPERATOR)} == of_operators


def test_document_is_the_same_each_time_that_it_is_read() -> None:
    """The edge reads it at each start of the documentation page."""
    app = create_app(Settings(amqp_url="amqp://broker.invalid"))
    first = json.dumps(app.openapi())
    assert json.dumps(app.openapi()) == first


def test_route_outside_the_operations_of_workers_shows_no_data_of_a_tenant(routes: dict[str, Json]) -> None:
    """The edge itself answers these, and the forward route acts with its own credential."""
    of_operations = {name for name in routes if name.removesuffix(BY_OPERATOR) in OPERATIONS}
    assert set(routes) - of_operations == {"auth.forward", "health.live", "health.ready"}


def test_route_outside_the_document_is_known_to_the_permission_matrix() -> None:
    """A route that nobody lists would escape the matrix."""
    settings = Settings(amqp_url="amqp://broker.invalid", forward_email="shop@example.com", forward_password="secret")
    routes = [
        route
        for each in create_app(settings).routes
        for route in (each.original_router.routes if hasattr(each, "original_router") else [each])
    ]
    assert len(routes) > len(OPERATIONS)
    hidden = {route.path for route in routes if isinstance(route, Route) and not route.include_in_schema}
    assert all(isinstance(route, Route) for route in routes)
    assert hidden == OF_THE_EDGE | set(ALIASES)
