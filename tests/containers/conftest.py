"""The images of this tree, built by this machine's Docker engine; without one these tests are skipped."""

import shutil
import subprocess
from collections.abc import Callable, Mapping

import pytest

from dev.processes import REPOSITORY
from tests.images import HAPROXY_IMAGE, MONGO_IMAGE, PYTHON_IMAGE, RABBITMQ_IMAGE, RABBITMQ_MANAGEMENT_IMAGE

#: The first build fetches a base image and packages.
BUILD_TIMEOUT_SECONDS = 1_200
BASES = (PYTHON_IMAGE, RABBITMQ_MANAGEMENT_IMAGE, MONGO_IMAGE)
#: Base images that only production uses.
PRODUCTION_BASES = (RABBITMQ_IMAGE, HAPROXY_IMAGE)

Docker = Callable[..., str]


@pytest.fixture(scope="session")
def docker() -> Docker:
    """Run docker with input text and return its output; fail with its error output."""

    def run(
        *arguments: str,
        env: Mapping[str, str] | None = None,
        text: str | None = None,
        timeout_seconds: float = BUILD_TIMEOUT_SECONDS,
    ) -> str:
        done = subprocess.run(  # noqa: S603 - the tests' own arguments
            ["docker", *arguments],  # noqa: S607 - the engine of this machine
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
        pytest.skip("no Docker engine: images and compose files are not tested")
    try:
        run("info", timeout_seconds=30)
        run("compose", "version", timeout_seconds=30)
    except (AssertionError, subprocess.TimeoutExpired):
        pytest.skip("no usable Docker engine with compose: images and compose files are not tested")
    return run


@pytest.fixture(scope="session")
def images(docker: Docker) -> dict[str, str]:
    """The two images by side, built on the host's network so that the package index is reachable."""
    try:
        for base in BASES:
            docker("image", "inspect", base)
    except AssertionError:
        pytest.skip(f"not all of {', '.join(BASES)} are on this machine: pull them to test images and compose files")
    tags = {side: f"jincor-auth-{side}:test" for side in ("api", "worker")}
    for side, tag in tags.items():
        docker("build", "--network", "host", "--file", f"Dockerfile.{side}", "--tag", tag, ".")
    return tags
