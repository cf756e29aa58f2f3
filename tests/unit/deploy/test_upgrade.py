"""`python -m deploy both-versions`: the permissions that the processes of two versions need, and no others."""

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
    """Return definitions of an edge with these permissions and of a service with these operations."""
    account = Account("edge", "secret", Permissions("^$", write, "^$", topics))
    return definitions("/", [account], [Service("shop", services)])


def allowed(made: Any, member: str, name: str, kind: str = "permissions") -> bool:
    (entry,) = made[kind]
    return re.search(entry[member], name) is not None


def test_permissions_of_both_versions_are_united() -> None:
    """No other permissions are added."""
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
def test_topic_restriction_of_one_version_is_dropped_while_the_other_needs_all_keys(*, reverse: bool) -> None:
    """Without a topic permission RabbitMQ allows every routing key, and the other version relies on that."""
    versions = of(), of(TopicPermission("rpc", write="^(auth\\.login)$"))
    assert of_both(*(reversed(versions) if reverse else versions))["topic_permissions"] == []


@pytest.mark.parametrize("reverse", [False, True])
def test_topic_restriction_on_an_exchange_unused_by_the_other_version_stays(*, reverse: bool) -> None:
    versions = of(), of(TopicPermission("probes", write="^(sub)$"), write="^(rpc|probes)$")
    (entry,) = of_both(*(reversed(versions) if reverse else versions))["topic_permissions"]
    assert (entry["exchange"], entry["write"]) == ("probes", "^(sub)$")


@pytest.mark.parametrize("reverse", [False, True])
def test_empty_permission_of_one_version_adds_nothing(*, reverse: bool) -> None:
    """An export of a running broker may contain one. As a part of a joined pattern it would match everything."""
    versions = of(write=""), of()
    both = of_both(*(reversed(versions) if reverse else versions))
    assert [name for name in ("rpc", "events", "calls.bank") if allowed(both, "write", name)] == ["rpc"]
    assert of_both(of(write=""), of(write=""))["permissions"][0]["write"] == ""


@pytest.mark.parametrize("reverse", [False, True])
def test_topic_restriction_beside_an_empty_permission_stays(*, reverse: bool) -> None:
    """A user without write permission relies on no routing key."""
    restricted = of(TopicPermission("rpc", write="^(auth\\.login)$"))
    nothing = of(write="")
    nothing["permissions"][0]["read"] = ""
    versions = nothing, restricted
    (entry,) = of_both(*(reversed(versions) if reverse else versions))["topic_permissions"]
    assert entry["write"] == "^(auth\\.login)$"


def test_two_equal_versions_give_the_same_definitions(tmp_path: Path) -> None:
    """This run includes the output of the command."""
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


def test_definitions_of_different_virtual_hosts_are_refused() -> None:
    with pytest.raises(ValueError, match="same virtual host"):
        of_both(definitions("/", []), definitions("other", []))
