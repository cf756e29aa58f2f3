"""The compose files, as far as no container engine is needed to judge them."""

from pathlib import Path

import pytest
import yaml

import api.settings

REPOSITORY = Path(__file__).parents[3]
#: Docker's, of a container that says nothing.
USUAL_SHARES = 1024


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.prod.yml"])
def test_hashing_yields_the_cores(name: str) -> None:
    """To every other container: niceness does not count between them."""
    services = yaml.safe_load((REPOSITORY / name).read_text())["services"]
    shares = {service: spec.get("cpu_shares", USUAL_SHARES) for service, spec in services.items()}
    assert shares.pop("worker-password") * 10 <= min(shares.values())


def test_production_has_no_page_to_paste_tokens_into() -> None:
    """Its script comes from another site."""
    edge = yaml.safe_load((REPOSITORY / "docker-compose.prod.yml").read_text())["services"]["edge"]
    assert not api.settings.Settings(amqp_url="amqp://broker.invalid", docs=edge["environment"]["AUTH_DOCS"]).docs
