"""Secrets for a broker that others use, too, made once and made again."""

from pathlib import Path

import pytest

from deploy.secret_files import COMPOSE, KUBERNETES, Place, make_compose_secrets, make_kubernetes_secrets
from tests.unit.deploy.test_certificates import contents

SHARED = COMPOSE.in_vhost("auth/main").on_broker(("rabbit.example.com",))


def test_what_is_made_again_for_the_same_place_is_kept(tmp_path: Path) -> None:
    """Also where the virtual host's name has to be encoded in a URL."""
    make_compose_secrets(tmp_path, "auth.example.com", SHARED)
    before = contents(tmp_path)
    make_compose_secrets(tmp_path, "auth.example.com", SHARED)
    assert contents(tmp_path) == before
    assert "@rabbit.example.com:5671/auth%2Fmain?" in (tmp_path / "edge-amqp-url").read_text()


def test_broker_urls_of_the_default_virtual_host_name_it(tmp_path: Path) -> None:
    """A URL that ends in `/` names the empty virtual host for clients in Java and C."""
    for _ in range(2):
        make_compose_secrets(tmp_path, "auth.example.com", COMPOSE)
        for role in ("edge", "worker"):
            urls = (tmp_path / f"{role}-amqp-url").read_text().split(",")
            assert all("/%2F?cafile=" in url for url in urls)


@pytest.mark.parametrize("place", [COMPOSE, COMPOSE.in_vhost("auth/main"), SHARED.in_vhost("/")])
def test_definitions_for_another_place_than_the_urls_are_refused(tmp_path: Path, place: Place) -> None:
    """They would give permissions to users or in a virtual host that nobody uses; and nothing is changed."""
    make_compose_secrets(tmp_path, "auth.example.com", SHARED)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="pass --broker and --vhost as before"):
        make_compose_secrets(tmp_path, "auth.example.com", place)
    assert contents(tmp_path) == before


def test_the_autoscaler_looks_at_that_virtual_host(tmp_path: Path) -> None:
    """On Kubernetes its URL names it."""
    make_kubernetes_secrets(tmp_path, KUBERNETES.in_vhost("auth").on_broker(("rabbit.example.com",)))
    url = (tmp_path / "queue-length-url").read_text()
    assert url.startswith("https://jincor-auth-queue-length:")
    assert url.endswith("@rabbit.example.com:15671/auth")
