"""The compose files, as far as a test can judge them without a container engine."""

import re
from pathlib import Path

import pytest
import yaml

import api.settings
from deploy.secret_files import BROKER_CA, COMPOSE
from tests.unit.deploy.compose_tags import Merging

REPOSITORY = Path(__file__).parents[3]
PRODUCTION, SHARED_BROKER = "docker-compose.prod.yml", "deploy/shared-broker.yml"
BECOMING_A_USER = {"CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"}
#: Docker's default for a container without `cpu_shares`.
DEFAULT_SHARES = 1024


@pytest.mark.parametrize("name", ["docker-compose.yml", PRODUCTION])
def test_password_worker_has_a_tenth_of_the_cpu_shares_of_the_others(name: str) -> None:
    """Niceness has no effect between containers."""
    services = yaml.safe_load((REPOSITORY / name).read_text())["services"]
    shares = {service: spec.get("cpu_shares", DEFAULT_SHARES) for service, spec in services.items()}
    assert shares.pop("worker-password") * 10 <= min(shares.values())


def test_production_edge_serves_no_documentation_page() -> None:
    """Users would paste tokens into a page whose script comes from another site."""
    edge = yaml.safe_load((REPOSITORY / PRODUCTION).read_text())["services"]["edge"]
    assert not api.settings.Settings(amqp_url="amqp://broker.invalid", docs=edge["environment"]["AUTH_DOCS"]).docs


@pytest.mark.parametrize("name", ["docker-compose.yml", PRODUCTION])
def test_container_drops_capabilities_and_has_a_read_only_root(name: str) -> None:
    """Only images that change to their own user at the start keep the capabilities for that."""
    services = yaml.safe_load((REPOSITORY / name).read_text())["services"]
    for service, spec in services.items():
        assert spec["cap_drop"] == ["ALL"], service
        assert set(spec.get("cap_add", ())) <= (BECOMING_A_USER if name != PRODUCTION else set()), service
        assert spec["read_only"] is True, service
        assert spec["security_opt"] == ["no-new-privileges:true"], service


def test_broker_metrics_listen_only_on_their_own_network() -> None:
    """Edges, workers and services are on other networks. Each node finds its address by a name of this network."""
    services = yaml.safe_load((REPOSITORY / PRODUCTION).read_text())["services"]
    members = {name: spec["networks"] for name, spec in services.items() if "broker-telemetry" in spec["networks"]}
    assert set(members) == set(COMPOSE.brokers)
    for name, networks in members.items():
        assert networks["broker-telemetry"]["aliases"] == [f"{name}-telemetry"]
        assert services[name]["hostname"] == name
    assert 'getent hosts "$(hostname)-telemetry"' in (REPOSITORY / "deploy/rabbitmq/start.sh").read_text()
    (bound,) = [
        line for line in (REPOSITORY / "deploy/rabbitmq/rabbitmq.conf").read_text().splitlines() if "prometheus" in line
    ]
    assert bound == "prometheus.tcp.ip = $(METRICS_ADDRESS)"


def test_database_node_is_checked_by_its_name_in_the_network() -> None:
    """The image's first server, without access control, listens on 127.0.0.1 alone. mongosh does not wait for a
    server that refuses connections, so `mongo-set` would fail between that server and the next one.
    """
    services = yaml.safe_load((REPOSITORY / PRODUCTION).read_text())["services"]
    for name in COMPOSE.databases:
        assert services[name]["hostname"] == name
        assert '--host "$$(hostname)"' in services[name]["healthcheck"]["test"]


def test_script_passes_no_secret_as_an_argument() -> None:
    """Every user of the host can read the arguments of all processes."""
    scripts = sorted((REPOSITORY / "deploy").rglob("*.sh"))
    assert len(scripts) == 5
    assert not [script for script in scripts if re.search(r"\$\((cat |< *)/run/secrets", script.read_text())]


def test_shared_broker_file_removes_our_brokers_and_adds_its_authority() -> None:
    """Services that depend on our brokers keep their other dependencies, and clients of the broker get the file."""
    services = yaml.safe_load((REPOSITORY / PRODUCTION).read_text())["services"]
    changes = yaml.load((REPOSITORY / SHARED_BROKER).read_text(), Merging)  # noqa: S506 - a SafeLoader with two more tags
    assert BROKER_CA in changes["secrets"]
    assert changes["networks"]["broker"] == {"internal": False}
    brokers = set(COMPOSE.brokers)
    assert {name for name, change in changes["services"].items() if change is None} == brokers
    for name, service in services.items():
        if name not in brokers and brokers & set(service.get("depends_on", ())):
            change = changes["services"][name]
            assert change["secrets"] == [BROKER_CA]
            others = {on: condition for on, condition in service["depends_on"].items() if on not in brokers}
            assert (change["depends_on"] or {}) == others
        else:
            assert name in brokers or name not in changes["services"]


@pytest.mark.parametrize("name", ["docker-compose.yml", PRODUCTION])
def test_container_log_of_every_service_is_limited(name: str) -> None:
    """Docker keeps logs without a limit by default."""
    for service, spec in yaml.safe_load((REPOSITORY / name).read_text())["services"].items():
        assert {"max-size", "max-file"} <= spec["logging"]["options"].keys(), service
