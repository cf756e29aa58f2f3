"""The contents and the configuration of the two images."""

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
#: A read-only container without capabilities, network and privilege changes.
CONFINED = ("--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--network=none")
#: The exit code for a configuration error in sysexits.h.
EX_CONFIG = 78


@pytest.mark.parametrize("side", ABSENT)
def test_image_contains_its_own_side_only(docker: Docker, images: dict[str, str], side: str) -> None:
    """Its package imports in a confined container, as a user without a name."""
    script = (
        "import importlib.util, os, sys; "
        f"import {side}.main; "
        "there = [name for name in sys.argv[1:] if importlib.util.find_spec(name)]; "
        "print(os.getuid(), os.access('.', os.W_OK), *there)"
    )
    printed = docker("run", *CONFINED, "--entrypoint", "python", images[side], "-c", script, *ABSENT[side])
    assert printed.split() == ["10001", "False"]


@pytest.mark.parametrize("side", ABSENT)
def test_image_has_entry_point_user_health_check_and_labels_without_secrets(
    docker: Docker, images: dict[str, str], side: str
) -> None:
    """The entry point is in exec form, so that signals arrive."""
    config = json.loads(docker("image", "inspect", images[side]))[0]["Config"]
    assert config["Entrypoint"] == ["python", "-m", side]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    assert config["Labels"]["org.opencontainers.image.title"] == f"jincor-auth-{side}"
    assert {"version", "revision", "licenses", "description"} <= {name.rpartition(".")[2] for name in config["Labels"]}
    names = {setting.partition("=")[0] for setting in config["Env"]}
    assert not {"AMQP_URL", "MONGO_URL", "AUTH_MASTER_KEYS", "AUTH_REGISTRATION_KEY"} & names


@pytest.mark.parametrize(("side", "main"), [("api", "api.__main__"), ("worker", "worker.main")])
def test_image_loads_the_tracing_sdk_only_with_an_endpoint(
    docker: Docker, images: dict[str, str], side: str, main: str
) -> None:
    script = (
        f"import sys, {main}; assert 'opentelemetry.sdk' not in sys.modules; "
        f"import {side}.tracing; assert 'opentelemetry.sdk' in sys.modules; print('passed')"
    )
    printed = docker("run", *CONFINED, "--entrypoint", "python", images[side], "-c", script)
    assert printed.strip() == "passed"


def test_worker_image_without_settings_names_the_missing_ones(docker: Docker, images: dict[str, str]) -> None:
    script = (
        "import subprocess; "
        "done = subprocess.run(['python', '-m', 'worker'], capture_output=True, text=True); "
        "print(done.returncode, done.stderr)"
    )
    printed = docker("run", *CONFINED, "--entrypoint", "python", images["worker"], "-c", script)
    assert printed.startswith(f"{EX_CONFIG} ")
    for name in ("AMQP_URL", "MONGO_URL", "AUTH_MASTER_KEYS"):
        assert f"configuration error: {name}" in printed
