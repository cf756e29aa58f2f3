"""The compose files, as far as no container engine is needed to judge them."""

from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
#: Docker's, of a container that says nothing.
USUAL_SHARES = 1024


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.prod.yml"])
def test_hashing_yields_the_cores(name: str) -> None:
    """To every other container: niceness does not count between them."""
    services = yaml.safe_load((REPOSITORY / name).read_text())["services"]
    shares = {service: spec.get("cpu_shares", USUAL_SHARES) for service, spec in services.items()}
    assert shares.pop("worker-password") * 10 <= min(shares.values())
