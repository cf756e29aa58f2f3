"""`python -m deploy service`, run as an operator runs it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from deploy.permissions import CLIENT_OPERATIONS, EDGE, IDENTITY_OPERATIONS, QUEUE_LENGTH, SERVICE_OPERATIONS, WORKER
from dev.processes import REPOSITORY


def service(*arguments: str, password: str = "secret\n") -> subprocess.CompletedProcess[str]:  # noqa: S107 - a test value
    return subprocess.run(  # noqa: S603 - a module of this repository
        [sys.executable, "-m", "deploy", "service", *arguments],
        cwd=REPOSITORY,
        input=password,
        capture_output=True,
        text=True,
        check=False,
    )


def made(*arguments: str) -> Any:
    done = service(*arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def operations(definitions: Any) -> set[str]:
    return {
        each["routing_key"]
        for each in definitions["bindings"]
        if (each["source"], each["destination"]) == ("calls.shop", "rpc")
    }


def test_service_with_chosen_operations_also_gets_those_of_the_client() -> None:
    """Without these, the service could not log its tenant in."""
    assert operations(made("shop", "--tenant", "1")) == set(SERVICE_OPERATIONS)
    few = made("shop", "--tenant", "1", "--operations", "auth.login, auth.verify")
    assert operations(few) == {"auth.login", "auth.verify", *CLIENT_OPERATIONS}
    assert set(CLIENT_OPERATIONS) == {"tenant.login", "tenant.verify", "principal.get", "event.list"}


def reads_events(definitions: Any) -> bool:
    (events,) = [each for each in definitions["topic_permissions"] if each["exchange"] == "events"]
    (user,) = definitions["permissions"]
    assert (events["read"] == "^$") == ("events" not in user["read"])
    return bool(events["read"] != "^$")


def test_service_with_chosen_permissions_gets_their_operations_and_those_of_every_client() -> None:
    few = made("shop", "--tenant", "1", "--permissions", "users:read, tokens:verify")
    assert operations(few) == {"user.get", "user.list", "auth.verify", "token.introspect", *IDENTITY_OPERATIONS}
    assert set(IDENTITY_OPERATIONS) == {"tenant.login", "tenant.verify", "principal.get"}


def test_service_reads_events_unless_its_permissions_exclude_them() -> None:
    """A service that once read events loses this when it is imported again: the definitions say so explicitly."""
    listens = made("shop", "--tenant", "1", "--permissions", "events:read")
    assert operations(listens) == {"event.list", *IDENTITY_OPERATIONS}
    assert reads_events(listens)
    assert reads_events(made("shop", "--tenant", "1"))
    assert reads_events(made("shop", "--tenant", "1", "--operations", "auth.login"))
    assert not reads_events(made("shop", "--tenant", "1", "--permissions", "tokens:verify"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ("--permissions", "users:read,tenants:read"),
            "services may not have: tenants:read; expected some of audit:read",
        ),
        (("--permissions", "user.get"), "services may not have: user.get"),
        (("--permissions", ""), "must name at least one permission"),
        (("--permissions", "users:read", "--operations", "user.get"), "not allowed with argument --permissions"),
    ],
    ids=str,
)
def test_permissions_that_services_cannot_have_are_refused(arguments: tuple[str, ...], reason: str) -> None:
    refused = service("shop", "--tenant", "1", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert reason in refused.stderr


@pytest.mark.parametrize("name", [EDGE, WORKER, QUEUE_LENGTH, "guest", "a.b", "", "two words", "s" * 65])
def test_reserved_or_invalid_service_name_is_refused(name: str) -> None:
    """The command would replace a reserved user; `AuthClient` rejects invalid names."""
    refused = service(name, "--tenant", "1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "argument name: " in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--tenant", "*"), ("--tenant", "a.b"), ("--tenant", ""), ("--tenant", "1", "--operations", "tenant.register")],
    ids=" ".join,
)
def test_tenant_or_operation_beyond_one_tenant_is_refused(arguments: tuple[str, ...]) -> None:
    """`*` is a routing key that receives the revocations of all tenants; services must not register tenants."""
    refused = service("shop", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")


def test_service_user_has_connection_and_channel_limits() -> None:
    """With `--keep-user`, the definitions hold no user, so the command prints how to set the limits."""
    (user,) = made("shop", "--tenant", "1")["users"]
    assert user["limits"] == {"max-connections": 50, "max-channels": 100}
    (user,) = made("shop", "--tenant", "1", "--max-connections", "7", "--max-channels", "9")["users"]
    assert user["limits"] == {"max-connections": 7, "max-channels": 9}
    kept = service("shop", "--tenant", "1", "--keep-user", "--max-channels", "9")
    assert json.loads(kept.stdout)["users"] == []
    assert """rabbitmqctl set_user_limits shop '{"max-connections": 50, "max-channels": 9}'""" in kept.stderr


@pytest.mark.parametrize("number", ["0", "-1", "many", ""])
def test_limit_below_one_is_refused(number: str) -> None:
    """RabbitMQ reads -1 as unlimited and 0 as no connection at all."""
    refused = service("shop", "--tenant", "1", f"--max-connections={number}")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "argument --max-connections: must be a number of at least 1" in refused.stderr


def test_empty_password_is_refused() -> None:
    """The command never generates a password for a service."""
    refused = service("shop", "--tenant", "1", password="\n")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "password" in refused.stderr
