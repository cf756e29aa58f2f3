"""The images of this tree, built by the Docker engine of this machine; without one these tests are skipped."""

import shutil
import subprocess
from collections.abc import Callable, Mapping

import pytest

from dev.processes import REPOSITORY
from tests.images import HAPROXY_IMAGE, MONGO_IMAGE, PYTHON_IMAGE, RABBITMQ_IMAGE, RABBITMQ_MANAGEMENT_IMAGE

#: The first build fetches a base image and packages.
BUILD_TIMEOUT_SECONDS = 1_200
BASES = (PYTHON_IMAGE, RABBITMQ_MANAGEMENT_IMAGE, MONGO_IMAGE)
#: What only production runs on.
PRODUCTION_BASES = (RABBITMQ_IMAGE, HAPROXY_IMAGE)

Docker = Callable[..., str]


@pytest.fixture(scope="session")
def docker() -> Docker:
    """Runs the command, gives it this text, and answers what it printed; fails with what it complained about."""

    def run(
        *arguments: str,
        env: Mapping[str, str] | None = None,
        text: str | None = None,
        timeout_seconds: float = BUILD_TIMEOUT_SECONDS,
    ) -> str:
        done = subprocess.run(  # noqa: S603 - the tests' own arguments
            ["docker", *arguments],  # noqa: S607 - whatever engine this machine has
            cwd=REPOSITORY,
            env=env,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    if not shutil.which("docker"):
        pytest.skip("no Docker engine: images and compose files are not tried")
    try:
        run("info", timeout_seconds=30)
        run("compose", "version", timeout_seconds=30)
    except (AssertionError, subprocess.TimeoutExpired):
        pytest.skip("no usable Docker engine with compose: images and compose files are not tried")
    return run


@pytest.fixture(scope="session")
def images(docker: Docker) -> dict[str, str]:
    """The two images by side. The host's network reaches whatever package index this machine uses."""
    try:
        for base in BASES:
            docker("image", "inspect", base)
    except AssertionError:
        pytest.skip(f"not all of {', '.join(BASES)} are here: pull them to try images and compose files")
    tags = {side: f"jincor-auth-{side}:test" for side in ("api", "worker")}
    for side, tag in tags.items():
        docker("build", "--network", "host", "--file", f"Dockerfile.{side}", "--tag", tag, ".")
    return tags
