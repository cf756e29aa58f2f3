"""The two images: what is in them and what is not, and that they ask for no more than they need."""

import json

import pytest

from tests.containers.conftest import Docker

ABSENT = {
    "api": (
        "worker",
        "dev",
        "tests",
        "deploy",
        "motor",
        "pymongo",
        "bson",
        "argon2",
        "bcrypt",
        "jwt",
        "secantus",
        "pytest",
    ),
    "worker": ("api", "dev", "tests", "deploy", "fastapi", "starlette", "uvicorn", "secantus", "pytest"),
}
#: What writes nowhere, owns nothing and may become nobody else.
CONFINED = ("--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--network=none")
#: As sysexits.h has it for a configuration error.
EX_CONFIG = 78


@pytest.mark.parametrize("side", ABSENT)
def test_an_image_holds_its_side_and_nothing_of_the_other(docker: Docker, images: dict[str, str], side: str) -> None:
    """Its own package imports in a confined container, as a user without a name; the rest is not there."""
    script = (
        "import importlib.util, os, sys; "
        f"import {side}.main; "
        "there = [name for name in sys.argv[1:] if importlib.util.find_spec(name)]; "
        "print(os.getuid(), os.access('.', os.W_OK), *there)"
    )
    printed = docker("run", *CONFINED, "--entrypoint", "python", images[side], "-c", script, *ABSENT[side])
    assert printed.split() == ["10001", "False"]


@pytest.mark.parametrize("side", ABSENT)
def test_an_image_says_what_it_is_and_how_it_is_told_to_stop(docker: Docker, images: dict[str, str], side: str) -> None:
    """Entry point in exec form, so that signals arrive; a health check; a user; labels; no secret in its settings."""
    config = json.loads(docker("image", "inspect", images[side]))[0]["Config"]
    assert config["Entrypoint"] == ["python", "-m", side]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    assert config["Labels"]["org.opencontainers.image.title"] == f"jincor-auth-{side}"
    assert {"version", "revision", "licenses", "description"} <= {name.rpartition(".")[2] for name in config["Labels"]}
    names = {setting.partition("=")[0] for setting in config["Env"]}
    assert not {"AMQP_URL", "MONGO_URL", "AUTH_MASTER_KEYS", "AUTH_REGISTRATION_KEY"} & names


@pytest.mark.parametrize(("side", "main"), [("api", "api.__main__"), ("worker", "worker.main")])
def test_an_image_can_trace_and_loads_nothing_for_it(
    docker: Docker, images: dict[str, str], side: str, main: str
) -> None:
    """OpenTelemetry's SDK is there for who sets an endpoint; others have it on the disk alone."""
    script = (
        f"import sys, {main}; assert {main}._tracing() is None and 'opentelemetry.sdk' not in sys.modules; "
        f"import {side}.tracing; assert 'opentelemetry.sdk' in sys.modules; print('as said')"
    )
    printed = docker("run", *CONFINED, "--entrypoint", "python", images[side], "-c", script)
    assert printed.strip() == "as said"


def test_a_worker_that_was_told_nothing_names_what_is_missing(docker: Docker, images: dict[str, str]) -> None:
    """It does not start with a default for what protects something."""
    script = (
        "import subprocess; "
        "done = subprocess.run(['python', '-m', 'worker'], capture_output=True, text=True); "
        "print(done.returncode, done.stderr)"
    )
    printed = docker("run", *CONFINED, "--entrypoint", "python", images["worker"], "-c", script)
    assert printed.startswith(f"{EX_CONFIG} ")
    for name in ("AMQP_URL", "MONGO_URL", "AUTH_MASTER_KEYS"):
        assert f"configuration error: {name}" in printed
