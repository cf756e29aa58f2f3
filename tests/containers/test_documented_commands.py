"""Commands of docs/deployment.md and docs/operations.md for production, run as the pages have them."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.certificates import CA, make_authority, make_certificate
from deploy.private_files import GROUP_READS, write_private
from dev.ports import free_port
from dev.processes import REPOSITORY
from tests.containers.conftest import PRODUCTION_BASES, Docker
from tests.containers.production import DATABASE_URL, VERSION, WORKERS, Production
from tests.images import RABBITMQ_MANAGEMENT_IMAGE

DEPLOYMENT, OPERATIONS = REPOSITORY / "docs/deployment.md", REPOSITORY / "docs/operations.md"
#: A command that hangs, as `import_definitions` did, fails before the operator's patience ends.
TIMEOUT_SECONDS = 300
COMPOSE = "docker compose -f docker-compose.prod.yml"
BROKER = "rabbit-1.example.com"
#: Lets clients of the private network's authority in, on the standard ports of AMQP and of the management interface.
TLS = f"""
listeners.ssl.default = 5671
ssl_options.cacertfile = /tls/{CA}
ssl_options.certfile = /tls/{BROKER}.pem
ssl_options.keyfile = /tls/{BROKER}.pem
management.ssl.port = 15671
management.ssl.cacertfile = /tls/{CA}
management.ssl.certfile = /tls/{BROKER}.pem
management.ssl.keyfile = /tls/{BROKER}.pem
"""


def block(page: Path, beginning: str) -> str:
    """Return the only block for a shell on this page that begins so."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    found: list[str] = [each for each in blocks if each.startswith(beginning)]
    assert len(found) == 1, beginning
    return found[0]


class Operator:
    """Runs a page's commands in this stack, with its names, ports and directory of secrets."""

    def __init__(self, production: Production, *more_files: str) -> None:
        self.production = production
        self.compose = " ".join(("docker", *production.command, *more_files))

    def run(self, commands: str, **substitutes: str) -> str:
        """Return what the commands print. Each must succeed within the time limit."""
        here = {
            **substitutes,
            "make deploy-tools": ":",
            ".venv/bin/python": sys.executable,
            "-m deploy secrets": f"-m deploy secrets --directory {self.production.secrets}",
            "docker build": "docker build --network host",
            "https://auth.example.com": f"--cacert {self.production.secrets}/edge-tls.pem {self.production.url}",
            COMPOSE: self.compose,
        }
        for text, substitute in here.items():
            commands = commands.replace(text, substitute)
        commands = re.sub(r"(?<![\w/])deploy/secrets", str(self.production.secrets), commands)
        commands = re.sub(r"VERSION=2\.0\.\d", f"VERSION={VERSION}", commands)
        done = subprocess.run(  # noqa: S603
            ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607
            cwd=REPOSITORY,
            env={**self.production.env, "COMPOSE": self.compose, "EXEC": f"{self.compose} exec -T rabbitmq-1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    def broker(self, command: str) -> str:
        return self.production.compose("exec", "-T", "rabbitmq-1", *command.split())


def checks(operator: Operator) -> list[str]:
    """Return what the checks of edge and worker find. They print to standard error, as Compose does."""
    printed = operator.run("exec 2>&1\n" + block(OPERATIONS, COMPOSE))
    return [line for line in printed.splitlines() if line and not line.startswith(" Container ")]


@pytest.fixture(scope="module")
def stack(docker: Docker, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """Everything but the containers: images, secrets, and a database that only speaks MongoDB's protocol."""
    del images
    try:
        for base in PRODUCTION_BASES:
            docker("image", "inspect", base)
    except AssertionError:
        pytest.skip(f"not all of {', '.join(PRODUCTION_BASES)} are here: pull them to try production")
    production = Production(docker, tmp_path_factory.mktemp("production"))
    yield production
    production.compose("down", "--volumes", "--timeout", "30")


@pytest.fixture(scope="module")
def operator(stack: Production) -> Operator:
    """The stack after the first block of commands for production."""
    operator = Operator(stack)
    operator.run(block(DEPLOYMENT, "make deploy-tools"))
    return operator


def test_production_commands_register_a_tenant_and_add_its_service(operator: Operator) -> None:
    """The import of the service's definitions ends; before, it read nothing and hung."""
    tenant = json.loads(operator.run(block(DEPLOYMENT, 'echo \'{"email"')))
    assert tenant.keys() == {"id", "email", "login", "token"}
    operator.run(block(DEPLOYMENT, "openssl rand"), TENANT_ID=tenant["id"])
    assert "shop" in operator.broker("rabbitmqctl --quiet list_users").split()


def test_upgrade_commands_replace_every_container_of_a_service(operator: Operator) -> None:
    """Run twice, because files of the last upgrade are still there. tests/containers/test_production.py rolls the
    other services."""
    commands = block(DEPLOYMENT, "export VERSION=2.0.1")
    (services,) = re.findall(r"for service in ([^;]+);", commands)
    assert services.split() == ["edge", *WORKERS]
    old = set(operator.production.containers("edge"))
    commands = commands.replace(services, "edge")
    operator.run(commands)
    new = set(operator.production.containers("edge"))
    assert len(new) == len(old)
    assert not new & old
    operator.run(commands.replace("sh deploy/roll.sh $service", ":"))


def test_check_commands_find_no_problem_in_production(operator: Operator) -> None:
    assert checks(operator) == ["ok", "ok"]


def test_replica_commands_list_queues_and_grow_them(operator: Operator) -> None:
    inside = f"{COMPOSE} exec -T rabbitmq-1 rabbitmq"
    commands = re.sub(r"^rabbitmq", inside, block(OPERATIONS, "rabbitmqctl list_queues"), flags=re.MULTILINE)
    assert "rpc.verify.quorum" in operator.run(commands, NODE="rabbitmq-3")


def test_certificate_commands_renew_a_node(operator: Operator) -> None:
    (recreate,) = re.findall(r"`(docker compose [^`]+ --force-recreate) NODE`", OPERATIONS.read_text())
    dates = f"{COMPOSE} exec -T rabbitmq-3 sha256sum /run/secrets/node.pem"
    before = operator.run(dates)
    operator.run(f".venv/bin/python -m deploy secrets --renew-certificates && {recreate} rabbitmq-3")
    assert operator.run(dates) != before


async def test_shared_broker_commands_start_everything_without_brokers_of_our_own(
    docker: Docker, images: dict[str, str], tmp_path: Path
) -> None:
    """The definitions arrive through the management interface of a broker with its own authority."""
    del images
    production = Production(docker, tmp_path)
    production.env["FRONT_SUBNET"] = "10.213.78.0/24"  # beside the other stack of this module
    for file in production.secrets.iterdir():
        file.unlink()
    operator = Operator(production, "--file", "deploy/shared-broker.yml")
    making, copying, _, _, _, importing, starting = re.findall(
        r"(?:.*\\\n)*.+\n", block(DEPLOYMENT, ".venv/bin/python -m deploy secrets --host auth.example.com --vhost")
    )
    tls = tmp_path / "tls"
    tls.mkdir(mode=0o755)
    make_authority(tls)
    make_certificate(tls, BROKER)
    (tls / "tls.conf").write_text(TLS)
    for file in tls.iterdir():
        file.chmod(0o644)
    for user in ("worker", "deploy"):
        write_private(production.secrets / f"{user}-mongo-url", DATABASE_URL, GROUP_READS)
    operator.run(making, **{f"{BROKER},rabbit-2.example.com": BROKER})
    operator.run(copying, **{"YOUR_AUTHORITY.pem": str(tls / CA)})
    port = free_port()
    mounts = ("--volume", f"{tls}:/tls:ro", "--volume", f"{tls}/tls.conf:/etc/rabbitmq/conf.d/20-tls.conf:ro")
    broker = docker("run", "--detach", *mounts, "--publish", f"127.0.0.1:{port}:15671", RABBITMQ_MANAGEMENT_IMAGE)
    try:
        operator.run(f"{operator.compose} up --no-start")
        docker("network", "connect", "--alias", BROKER, f"{production.project}_broker", broker.strip())
        here = f"--fail --silent --show-error --cacert {tls / CA} --connect-to {BROKER}:15671:127.0.0.1:{port}"
        importing = importing.replace("curl --user ADMIN", f"curl --user guest:guest {here}")
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                try:
                    operator.run(importing)
                    break
                except AssertionError:  # The node is still starting.
                    await asyncio.sleep(1)
        operator.run(starting, **{f"{COMPOSE} -f deploy/shared-broker.yml": operator.compose})
        assert checks(operator) == ["ok", "ok"]
    finally:
        operator.run(f"{operator.compose} down --volumes --timeout 30")
        docker("rm", "--force", "--volumes", broker.strip())
