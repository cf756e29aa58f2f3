"""The compose files, as far as no container engine is needed to judge them."""

from pathlib import Path

import pytest
import yaml

import api.settings
from deploy.secret_files import BROKER_CA, COMPOSE

REPOSITORY = Path(__file__).parents[3]
PRODUCTION, SHARED_BROKER = "docker-compose.prod.yml", "deploy/shared-broker.yml"
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


class Merging(yaml.SafeLoader):  # type: ignore[misc] # yaml has no types
    """Reads what compose does with a member as the member that it leaves there."""


Merging.add_constructor("!reset", lambda *_: None)
Merging.add_constructor("!override", lambda loader, node: loader.construct_mapping(node, deep=True))


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
