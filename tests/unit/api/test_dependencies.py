"""Dependencies of the routes, as FastAPI resolves them."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

import api.routes

MODULES = [importlib.import_module(f"api.routes.{module.name}") for module in pkgutil.iter_modules(api.routes.__path__)]
ROUTES = [route for module in MODULES for route in module.router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_route_and_its_dependencies_run_on_the_event_loop(route: APIRoute) -> None:
    """FastAPI would run synchronous functions in a thread pool."""
    for called in _called(route.dependant):
        assert inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called), called


def test_search_for_dependencies_finds_known_ones() -> None:
    """Shows that the test above can fail."""
    names = {getattr(called, "__name__", "") for route in ROUTES for called in _called(route.dependant)}
    assert {"verify_user", "_caller", "member"} <= names


def _called(dependant: Dependant) -> Iterator[object]:
    call = dependant.call
    yield call if inspect.isroutine(call) else getattr(call, "__call__", call)  # noqa: B004 - an instance of HTTPBearer
    for inner in dependant.dependencies:
        yield from _called(inner)
