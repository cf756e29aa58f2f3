"""The compose files: the laptop's as a newcomer meets it, and what production's promises on paper."""

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dev.ports import free_port
from tests.containers.conftest import Docker

UP_TIMEOUT_SECONDS = 600
PATIENCE_SECONDS = 60
PASSWORD = "correct horse battery"
SECRETS = {"AMQP_URL", "MONGO_URL", "AUTH_MASTER_KEYS", "AUTH_REGISTRATION_KEY"}


class Laptop:
    """`docker-compose.yml` under a name and on ports of its own."""

    def __init__(self, docker: Docker, directory: Path) -> None:
        self._docker = docker
        self._project = f"jincor-auth-test-{uuid.uuid4().hex[:8]}"
        self._override = directory / "host-network.json"
        build = {"build": {"network": "host"}}
        self._override.write_text(json.dumps({"services": {"edge": build, "worker": build}}))
        ports = {name: str(free_port()) for name in ("AUTH_PORT", "AMQP_PORT", "RABBITMQ_UI_PORT")}
        self._env = {**os.environ, **ports}
        self.url = f"http://127.0.0.1:{ports['AUTH_PORT']}"

    def compose(self, *arguments: str) -> str:
        files = ("--file", "docker-compose.yml", "--file", str(self._override))
        return self._docker(
            *("compose", "--project-name", self._project, *files, *arguments),
            env=self._env,
            timeout_seconds=UP_TIMEOUT_SECONDS,
        )

    @contextlib.contextmanager
    def up(self) -> Iterator[httpx.Client]:
        self.compose("up", "--build", "--detach", "--wait")
        try:
            with httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS) as http:
                yield http
        finally:
            self.compose("down")


@pytest.fixture
def laptop(docker: Docker, images: dict[str, str], tmp_path: Path) -> Iterator[Laptop]:
    del images  # so that bases are there
    laptop = Laptop(docker, tmp_path)
    yield laptop
    laptop.compose("down", "--volumes")


def test_a_newcomer_logs_in_and_the_token_is_good_the_next_day(laptop: Laptop) -> None:
    """`up` returns when the service answers; after `down` and `up` users, sessions and the key are the same."""
    with laptop.up() as http:
        tenant = http.post("/tenant", json={"email": "me@example.com", "password": PASSWORD}).raise_for_status().json()
        headers = {"Authorization": f"Bearer {tenant['token']}"}
        user = {"email": "ann@example.com", "login": "ann", "password": PASSWORD, "sub": "1", "scope": "all"}
        http.post("/user", headers=headers, json=user).raise_for_status()
        login = {"login": "ann", "password": PASSWORD, "deviceId": "laptop"}
        token = http.post("/auth", headers=headers, json=login).raise_for_status().json()["accessToken"]
    with laptop.up() as http:
        verified = http.post("/auth/verify", headers=headers, json={"token": token}).raise_for_status().json()
        assert verified["decoded"]["login"] == "ann"


def test_production_is_confined_and_has_no_secret_in_its_environment(docker: Docker) -> None:
    """As compose understands the file: secrets are files, only the proxy is published, and everything has limits."""
    env = {**os.environ, "VERSION": "test"}
    text = docker("compose", "--file", "docker-compose.prod.yml", "config", "--format", "json", env=env)
    project = json.loads(text)
    services = project["services"]
    assert {name for name, service in services.items() if service.get("ports")} == {"proxy"}
    assert all(project["networks"][name].get("internal") for name in ("front", "broker", "database", "telemetry"))
    for name, service in services.items():
        assert not SECRETS & set(service.get("environment") or {}), name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        if name != "mongo-set":  # which ends by itself
            assert service["restart"] == "unless-stopped", name
            assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory"}, name
        if "jincor-auth" in service["image"]:
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert service["deploy"]["replicas"] > 1, name
