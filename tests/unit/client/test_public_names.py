"""The public interface of the client: every argument has a name, and every type can be imported."""

import importlib
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shared
from shared.asgi import AuthMiddleware, ServiceAuth
from shared.fastapi import FastApiAuth

#: The modules that callers import from.
PUBLIC = ("shared", "shared.asgi", "shared.fastapi")
#: The classes that callers construct. The others come from calls.
CONSTRUCTED = {AuthMiddleware, ServiceAuth, FastApiAuth}


def exported() -> dict[str, object]:
    """Return the public objects by name."""
    modules = [importlib.import_module(name) for name in PUBLIC]
    return {name: getattr(module, name) for module in modules for name in module.__all__}


def is_ours(value: Any) -> bool:
    return str(value.__module__).partition(".")[0] == "shared"


def public_calls() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Return the functions and methods that callers can call, by their names."""
    for name, value in exported().items():
        if inspect.isfunction(value):
            yield name, value
        if not inspect.isclass(value) or not is_ours(value):
            continue
        for member, attribute in inspect.getmembers_static(value):
            function = attribute.fget if isinstance(attribute, property) else getattr(attribute, "__func__", attribute)
            if not inspect.isfunction(function) or not is_ours(function):
                continue
            if not member.startswith("_") or (member == "__init__" and value in CONSTRUCTED):
                yield f"{name}.{member}", inspect.unwrap(function)


CALLS = dict(public_calls())


def types_in(hint: Any) -> Iterator[type]:
    """Return the classes of this product in a type hint."""
    for part in typing.get_args(hint):
        for each in part if isinstance(part, list) else [part]:
            yield from types_in(each)
    found = typing.get_origin(hint) or hint
    if inspect.isclass(found) and is_ours(found):
        yield found


def types_met() -> Iterator[tuple[type, str]]:
    """Return each class that a caller meets, and where: in arguments, results, attributes or exceptions."""
    for name, call in CALLS.items():
        for hint in typing.get_type_hints(call).values():
            yield from ((each, name) for each in types_in(hint))
    for name, value in exported().items():
        if inspect.isclass(value) and is_ours(value):
            for attribute, hint in typing.get_type_hints(value).items():
                if not attribute.startswith("_"):
                    yield from ((each, f"{name}.{attribute}") for each in types_in(hint))
    pending: list[type[shared.AuthError]] = [shared.AuthError]
    while pending:
        error = pending.pop()
        if is_ours(error):
            yield error, "raised"
        pending += error.__subclasses__()


def test_walk_finds_what_callers_meet() -> None:
    assert {
        "AuthClient.connect",
        "AuthClient.login",
        "UserAccounts.create",
        "CachedVerifier.until_ended",
        "FastApiAuth.__init__",
        "FastApiAuth.require",
        "granted",
    } <= set(CALLS)
    met = dict(types_met())
    assert {shared.AuditRecord, shared.TenantAccount, shared.VerificationCounts, shared.Session} <= set(met)


@pytest.mark.parametrize("name", CALLS)
def test_public_call_has_no_open_keywords(name: str) -> None:
    """With `**attributes`, a typo such as `scop=` passes every type checker."""
    kinds = [each.kind for each in inspect.signature(CALLS[name]).parameters.values()]
    assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_every_type_that_callers_meet_is_exported() -> None:
    public = {value for value in exported().values() if inspect.isclass(value)}
    assert {each.__qualname__: where for each, where in types_met() if each not in public} == {}
