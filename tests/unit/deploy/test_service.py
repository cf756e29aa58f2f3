"""`python -m deploy service`, as an operator runs it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from deploy.permissions import CLIENT_OPERATIONS, EDGE, QUEUE_LENGTH, SERVICE_OPERATIONS, WORKER
from dev.processes import REPOSITORY


def service(*arguments: str, password: str = "secret\n") -> subprocess.CompletedProcess[str]:  # noqa: S107 - a test's
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
    return {each["routing_key"] for each in definitions["bindings"] if each["source"] == "calls.shop"}


def test_a_service_may_call_what_its_client_needs_whatever_it_is_for() -> None:
    """Otherwise it could not even log its tenant in."""
    assert operations(made("shop", "--tenant", "1")) == set(SERVICE_OPERATIONS)
    few = made("shop", "--tenant", "1", "--operations", "auth.login, auth.verify")
    assert operations(few) == {"auth.login", "auth.verify", *CLIENT_OPERATIONS}
    assert set(CLIENT_OPERATIONS) == {"tenant.login", "tenant.verify", "event.list"}


@pytest.mark.parametrize("name", [EDGE, WORKER, QUEUE_LENGTH, "guest", "a.b", "", "two words", "s" * 65])
def test_a_name_that_is_taken_or_none_is_refused(name: str) -> None:
    """A user of that name would be the service's from then on; and `AuthClient` accepts no other names."""
    refused = service(name, "--tenant", "1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "argument name: " in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--tenant", "*"), ("--tenant", "a.b"), ("--tenant", ""), ("--tenant", "1", "--operations", "tenant.register")],
    ids=" ".join,
)
def test_what_would_reach_further_than_its_tenant_is_refused(arguments: tuple[str, ...]) -> None:
    """`*` is a routing key by which everybody's revocations are heard; and registering is nothing for services."""
    refused = service("shop", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")


def test_a_password_is_asked_for() -> None:
    """None is made up, and an empty one is none."""
    refused = service("shop", "--tenant", "1", password="\n")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "password" in refused.stderr
