"""`python -m deploy both-versions`: what the processes of two versions need, and nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.definitions import Account, Service, definitions
from deploy.permissions import Permissions, TopicPermission, edge, worker
from deploy.upgrade import of_both
from dev.processes import REPOSITORY


def of(*topics: TopicPermission, write: str = "^(rpc)$", services: tuple[str, ...] = ("auth.login",)) -> Any:
    """Definitions of an edge with these permissions, and of a service with these operations."""
    account = Account("edge", "secret", Permissions("^$", write, "^$", topics))
    return definitions("/", [account], [Service("shop", services)])


def allowed(made: Any, member: str, name: str, kind: str = "permissions") -> bool:
    (entry,) = made[kind]
    return re.search(entry[member], name) is not None


def test_what_either_version_may_do_both_may() -> None:
    """And what neither may, nobody may."""
    old = of(TopicPermission("probes", write="^(sub\\.edge\\..*)$"), write="^(rpc|probes)$")
    new = of(TopicPermission("probes", write="^(now)$"), write="^(rpc|calls)$", services=("auth.verify",))
    both = of_both(old, new)
    assert [name for name in ("rpc", "probes", "calls", "xrpc", "events") if allowed(both, "write", name)] == [
        "rpc",
        "probes",
        "calls",
    ]
    assert [key for key in ("sub.edge.1", "now", "sub.shop.1") if allowed(both, "write", key, "topic_permissions")] == [
        "sub.edge.1",
        "now",
    ]
    assert {binding["routing_key"] for binding in both["bindings"]} >= {"auth.login", "auth.verify"}
    assert both["users"] == new["users"]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_restriction_that_only_one_version_has_restricts_nobody_yet(*, reverse: bool) -> None:
    """Without a topic permission RabbitMQ allows every routing key, and the other version counts on it."""
    versions = of(), of(TopicPermission("rpc", write="^(auth\\.login)$"))
    assert of_both(*(reversed(versions) if reverse else versions))["topic_permissions"] == []


@pytest.mark.parametrize("reverse", [False, True])
def test_a_restriction_on_what_the_other_version_cannot_reach_stays(*, reverse: bool) -> None:
    """It takes nothing from anybody."""
    versions = of(), of(TopicPermission("probes", write="^(sub)$"), write="^(rpc|probes)$")
    (entry,) = of_both(*(reversed(versions) if reverse else versions))["topic_permissions"]
    assert (entry["exchange"], entry["write"]) == ("probes", "^(sub)$")


@pytest.mark.parametrize("reverse", [False, True])
def test_an_empty_permission_allows_nothing(*, reverse: bool) -> None:
    """As RabbitMQ takes it, and an export of a running broker may have it; beside a pattern it would match all."""
    versions = of(write=""), of()
    both = of_both(*(reversed(versions) if reverse else versions))
    assert [name for name in ("rpc", "events", "calls.bank") if allowed(both, "write", name)] == ["rpc"]
    assert of_both(of(write=""), of(write=""))["permissions"][0]["write"] == ""


@pytest.mark.parametrize("reverse", [False, True])
def test_a_restriction_stays_beside_an_empty_permission(*, reverse: bool) -> None:
    """Whoever may write nothing there counts on no routing key."""
    restricted = of(TopicPermission("rpc", write="^(auth\\.login)$"))
    nothing = of(write="")
    nothing["permissions"][0]["read"] = ""
    versions = nothing, restricted
    (entry,) = of_both(*(reversed(versions) if reverse else versions))["topic_permissions"]
    assert entry["write"] == "^(auth\\.login)$"


def test_two_equal_versions_are_that_version(tmp_path: Path) -> None:
    """As the command prints it."""
    made = definitions("/", [Account("edge", "secret", edge()), Account("worker", "secret", worker())])
    path = tmp_path / "definitions.json"
    path.write_text(json.dumps(made))
    printed = subprocess.run(  # noqa: S603 - a module of this repository
        [sys.executable, "-m", "deploy", "both-versions", str(path), str(path)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    assert json.loads(printed.stdout) == made


def test_definitions_of_two_virtual_hosts_are_refused() -> None:
    with pytest.raises(ValueError, match="same virtual host"):
        of_both(definitions("/", []), definitions("other", []))
