"""Secrets for a broker that other services share, generated once and again."""

from pathlib import Path

import pytest

from deploy.secret_files import COMPOSE, KUBERNETES, Place, make_compose_secrets, make_kubernetes_secrets
from tests.unit.deploy.test_certificates import contents

SHARED = COMPOSE.in_vhost("auth/main").on_broker(("rabbit.example.com",))


def test_second_run_for_the_same_broker_keeps_the_files(tmp_path: Path) -> None:
    """The virtual host's name needs URL encoding here."""
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
def test_second_run_for_another_broker_or_vhost_is_refused(tmp_path: Path, place: Place) -> None:
    """The new definitions would not match the existing URLs. No file changes."""
    make_compose_secrets(tmp_path, "auth.example.com", SHARED)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="pass --broker and --vhost as before"):
        make_compose_secrets(tmp_path, "auth.example.com", place)
    assert contents(tmp_path) == before


def test_autoscaler_url_names_the_virtual_host(tmp_path: Path) -> None:
    make_kubernetes_secrets(tmp_path, KUBERNETES.in_vhost("auth").on_broker(("rabbit.example.com",)))
    url = (tmp_path / "queue-length-url").read_text()
    assert url.startswith("https://jincor-auth-queue-length:")
    assert url.endswith("@rabbit.example.com:15671/auth")
