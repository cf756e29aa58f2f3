"""The compose files: docker-compose.yml in use, and the configuration of docker-compose.prod.yml."""

import contextlib
import ipaddress
import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import httpx
import pytest

from dev.ports import free_port
from dev.processes import REPOSITORY
from tests.containers.conftest import Docker

UP_TIMEOUT_SECONDS = 600
PATIENCE_SECONDS = 60
README = REPOSITORY / "README.md"
DEPLOYMENT = REPOSITORY / "docs/deployment.md"
UP = ("--build", "--detach", "--wait")
#: Docker takes subnets from these pools for networks without one.
DOCKER_POOLS = [ipaddress.ip_network(pool) for pool in ("172.16.0.0/12", "192.168.0.0/16")]
#: The services that are stopped by a signal.
STOPPED = ("edge", "worker", "worker-password")
SECRETS = {"AMQP_URL", "MONGO_URL", "AUTH_MASTER_KEYS", "AUTH_REGISTRATION_KEY"}


class Laptop:
    """`docker-compose.yml` with a project name and ports of its own."""

    def __init__(self, docker: Docker, directory: Path) -> None:
        self._docker = docker
        self._project = f"jincor-auth-test-{uuid.uuid4().hex[:8]}"
        self._override = directory / "host-network.json"
        build = {"build": {"network": "host"}}
        self._override.write_text(json.dumps({"services": {"edge": build, "worker": build}}))
        ports = {name: str(free_port()) for name in ("AUTH_PORT", "AMQP_PORT", "RABBITMQ_UI_PORT")}
        self._env = {**os.environ, **ports, "AUTH_OPERATOR_TENANT": "operators"}
        self.url = f"http://127.0.0.1:{ports['AUTH_PORT']}"

    def compose(self, *arguments: str, text: str | None = None) -> str:
        files = ("--file", "docker-compose.yml", "--file", str(self._override))
        return self._docker(
            *("compose", "--project-name", self._project, *files, *arguments),
            env=self._env,
            text=text,
            timeout_seconds=UP_TIMEOUT_SECONDS,
        )

    def exit_codes(self) -> dict[str, int]:
        """Return the exit codes of the stopped services by name."""
        lines = self.compose("ps", "--all", "--format", "json", *STOPPED).splitlines()
        return {each["Service"]: each["ExitCode"] for each in map(json.loads, lines)}

    @contextlib.contextmanager
    def up(self) -> Iterator[httpx.Client]:
        self.compose("up", *UP)
        try:
            with httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS) as http:
                yield http
        finally:
            self.compose("down")


@pytest.fixture
def laptop(docker: Docker, images: dict[str, str], tmp_path: Path) -> Iterator[Laptop]:
    del images  # builds the images first
    laptop = Laptop(docker, tmp_path)
    yield laptop
    laptop.compose("down", "--volumes")


def test_readme_commands_log_in_and_the_token_survives_a_restart(laptop: Laptop) -> None:
    """Users, sessions and the key survive `down` and `up`; stopped services exit cleanly."""
    if not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("the README is for bash and curl")
    (block,) = re.findall(r"^```sh\n(docker compose up.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    up, _, curls = block.replace("http://127.0.0.1:8000", laptop.url).partition("\n")
    assert up.split()[2:] == ["up", *UP]
    with laptop.up() as http:
        script = f"set -eu\n{curls}\nprintf '\\n%s' \"$TOKEN\""
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)  # noqa: S603, S607
        assert done.returncode == 0, done.stderr
        answers, _, tenant_token = done.stdout.rpartition("\n")
        _, end = json.JSONDecoder().raw_decode(answers)  # the user, followed by the login
        token = json.loads(answers[end:])["accessToken"]
        headers = {"Authorization": f"Bearer {tenant_token}"}
        assert http.get("/user", headers=headers).raise_for_status().json()["users"][0]["login"] == "ann"
        laptop.compose("stop", *STOPPED)
        assert laptop.exit_codes() == dict.fromkeys(STOPPED, 0)
    with laptop.up() as http:
        verified = http.post("/auth/verify", headers=headers, json={"token": token}).raise_for_status().json()
        assert verified["decoded"]["login"] == "ann"


def test_documented_import_command_brings_in_users_that_log_in(laptop: Laptop) -> None:
    (line,) = re.findall(
        r"^docker compose (run .* worker\.import_users .*) < users\.jsonl$", DEPLOYMENT.read_text(), re.M
    )
    foreign_hash = bcrypt.hashpw(b"the password of ann", bcrypt.gensalt(10)).decode()
    user = {"login": "ann", "email": "ann@example.com", "passwordHash": foreign_hash}
    with laptop.up() as http:
        shop = {"email": "shop@example.com", "password": "the password of the shop"}
        token = http.post("/tenant", json=shop).raise_for_status().json()["token"]
        assert laptop.compose(*line.split(), text=json.dumps(user)) == "1 imported, 0 there already, 0 refused\n"
        headers = {"Authorization": f"Bearer {token}"}
        login = {"login": "ann", "password": "the password of ann", "deviceId": "phone"}
        http.post("/auth", headers=headers, json=login).raise_for_status()


def test_documented_bootstrap_command_makes_an_operator_that_logs_in(laptop: Laptop) -> None:
    (line,) = re.findall(r"^ *docker compose run (.* worker\.bootstrap .*)$", DEPLOYMENT.read_text(), re.M)
    password = "correct horse battery staple"
    with laptop.up() as http:
        printed = laptop.compose("run", "-T", *line.split(), "--password-stdin", text=f"{password}\n")
        setting, key = printed.splitlines()
        assert setting == "AUTH_OPERATOR_TENANT=operators"
        login = {"login": "olga", "password": password, "deviceId": "laptop"}
        headers = {"Authorization": f"Bearer {key}"}
        token = http.post("/operator/login", headers=headers, json=login).raise_for_status().json()["accessToken"]
        tenants = http.get("/tenants", headers={"Authorization": f"Bearer {token}"}).raise_for_status().json()
        assert [tenant["id"] for tenant in tenants["tenants"]] == ["operators"]


def test_production_compose_is_confined_and_keeps_secrets_out_of_the_environment(docker: Docker) -> None:
    """Only the proxy is published, and every service has limits."""
    env = {**os.environ, "VERSION": "test", "SECRETS_GID": "1000"}
    text = docker("compose", "--file", "docker-compose.prod.yml", "config", "--format", "json", env=env)
    project = json.loads(text)
    services = project["services"]
    assert {name for name, service in services.items() if service.get("ports")} == {"proxy"}
    inside = ("front", "broker", "database", "telemetry", "broker-telemetry")
    assert all(project["networks"][name].get("internal") for name in inside)
    (front,) = project["networks"]["front"]["ipam"]["config"]
    assert front["subnet"] == services["edge"]["environment"]["AUTH_TRUSTED_PROXIES"]
    assert not any(ipaddress.ip_network(front["subnet"]).overlaps(pool) for pool in DOCKER_POOLS)
    for name, service in services.items():
        assert not SECRETS & set(service.get("environment") or {}), name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        if name not in {"mongo-set", "indexes"}:  # these exit after their work
            assert service["restart"] == "unless-stopped", name
            assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}, name
        assert service["read_only"], name
        assert (service["cap_drop"], service.get("cap_add", [])) == (["ALL"], []), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["group_add"] == ["1000"], name
        if "jincor-auth" in service["image"] and name != "indexes":
            assert service["deploy"]["replicas"] > 1, name


def test_every_production_image_can_be_pinned_by_digest(docker: Docker) -> None:
    pinned = {
        f"{name}_IMAGE": f"registry.example.com/{name.lower()}:1@sha256:{'0' * 64}"
        for name in ("EDGE", "WORKER", "RABBITMQ", "MONGO", "HAPROXY")
    }
    env = {**os.environ, **pinned, "SECRETS_GID": "1000"}
    text = docker("compose", "--file", "docker-compose.prod.yml", "config", "--format", "json", env=env)
    assert {service["image"] for service in json.loads(text)["services"].values()} == set(pinned.values())
