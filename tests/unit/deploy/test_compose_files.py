"""The compose files, as far as no container engine is needed to judge them."""

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
#: Docker's, of a container that says nothing.
USUAL_SHARES = 1024


@pytest.mark.parametrize("name", ["docker-compose.yml", PRODUCTION])
def test_hashing_yields_the_cores(name: str) -> None:
    """To every other container: niceness does not count between them."""
    services = yaml.safe_load((REPOSITORY / name).read_text())["services"]
    shares = {service: spec.get("cpu_shares", USUAL_SHARES) for service, spec in services.items()}
    assert shares.pop("worker-password") * 10 <= min(shares.values())


def test_production_has_no_page_to_paste_tokens_into() -> None:
    """Its script comes from another site."""
    edge = yaml.safe_load((REPOSITORY / PRODUCTION).read_text())["services"]["edge"]
    assert not api.settings.Settings(amqp_url="amqp://broker.invalid", docs=edge["environment"]["AUTH_DOCS"]).docs


@pytest.mark.parametrize("name", ["docker-compose.yml", PRODUCTION])
def test_no_container_has_what_it_does_not_need(name: str) -> None:
    """No capabilities but those by which an image gives its data to its user, and no file system to write to."""
    services = yaml.safe_load((REPOSITORY / name).read_text())["services"]
    for service, spec in services.items():
        assert spec["cap_drop"] == ["ALL"], service
        assert set(spec.get("cap_add", ())) <= (BECOMING_A_USER if name != PRODUCTION else set()), service
        assert spec["read_only"] is True, service
        assert spec["security_opt"] == ["no-new-privileges:true"], service


def test_the_brokers_metrics_are_on_a_network_of_their_own() -> None:
    """Edges, workers and services are on others; and each node finds its address there by a name of that network."""
    services = yaml.safe_load((REPOSITORY / PRODUCTION).read_text())["services"]
    there = {name: spec["networks"] for name, spec in services.items() if "broker-telemetry" in spec["networks"]}
    assert set(there) == set(COMPOSE.brokers)
    for name, networks in there.items():
        assert networks["broker-telemetry"]["aliases"] == [f"{name}-telemetry"]
        assert services[name]["hostname"] == name
    assert 'getent hosts "$(hostname)-telemetry"' in (REPOSITORY / "deploy/rabbitmq/start.sh").read_text()
    (bound,) = [
        line for line in (REPOSITORY / "deploy/rabbitmq/rabbitmq.conf").read_text().splitlines() if "prometheus" in line
    ]
    assert bound == "prometheus.tcp.ip = $(METRICS_ADDRESS)"


def test_no_script_hands_a_secret_to_a_command_as_an_argument() -> None:
    """Every user of the host reads the arguments of all processes."""
    scripts = sorted((REPOSITORY / "deploy").rglob("*.sh"))
    assert len(scripts) == 4
    assert not [script for script in scripts if re.search(r"\$\((cat |< *)/run/secrets", script.read_text())]


def test_on_a_shared_broker_nothing_of_ours_is_left_and_its_authority_is_known() -> None:
    """Who waits for our brokers in production waits for what is left, and whoever connects is given the file."""
    services = yaml.safe_load((REPOSITORY / PRODUCTION).read_text())["services"]
    changes = yaml.load((REPOSITORY / SHARED_BROKER).read_text(), Merging)  # noqa: S506 - safe, and two tags more
    assert BROKER_CA in changes["secrets"]
    assert changes["networks"]["broker"] == {"internal": False}
    brokers = set(COMPOSE.brokers)
    assert {name for name, change in changes["services"].items() if change is None} == brokers
    for name, service in services.items():
        if name not in brokers and brokers & set(service.get("depends_on", ())):
            change = changes["services"][name]
            assert change["secrets"] == [BROKER_CA]
            left = {on: how for on, how in service["depends_on"].items() if on not in brokers}
            assert (change["depends_on"] or {}) == left
        else:
            assert name in brokers or name not in changes["services"]


@pytest.mark.parametrize("name", ["docker-compose.yml", PRODUCTION])
def test_container_log_of_every_service_is_limited(name: str) -> None:
    """Docker keeps logs without a limit by default."""
    for service, spec in yaml.safe_load((REPOSITORY / name).read_text())["services"].items():
        assert {"max-size", "max-file"} <= spec["logging"]["options"].keys(), service
