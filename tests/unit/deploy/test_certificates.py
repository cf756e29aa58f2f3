"""Certificates of the private networks and their renewal."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.certificates import CA, good_until
from deploy.secret_files import COMPOSE, make_compose_secrets
from dev.processes import REPOSITORY

OPERATIONS = REPOSITORY / "docs/operations.md"
VERIFY = ("verify", "-purpose", "sslserver")
NODES = {f"{host}.pem" for host in (*COMPOSE.brokers, *COMPOSE.databases)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    make_compose_secrets(tmp_path / "secrets", "auth.example.com")
    return tmp_path / "secrets"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def openssl(directory: Path, *arguments: str) -> None:
    command = ["openssl", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_authority_certificate_outlives_four_node_certificates(directory: Path) -> None:
    """Every client needs the new file when the authority expires."""
    now = datetime.now(UTC)
    terms = {name: good_until(directory / name) - now for name in {CA, *NODES}}
    authority = terms.pop(CA)
    assert authority > timedelta(days=3650)
    assert all(timedelta(days=800) < term < authority / 4 for term in terms.values())


def test_second_run_keeps_existing_secrets(directory: Path) -> None:
    before = contents(directory)
    make_compose_secrets(directory, "auth.example.com")
    assert contents(directory) == before


def test_renewal_replaces_only_the_node_certificates(directory: Path) -> None:
    """The same authority signs them, so its clients need no new file."""
    before, modes = contents(directory), {path.name: path.stat().st_mode for path in directory.iterdir()}
    make_compose_secrets(directory, "auth.example.com", renew_certificates=True)
    after = contents(directory)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == NODES
    assert {path.name: path.stat().st_mode for path in directory.iterdir()} == modes
    for name in NODES:
        openssl(directory, *VERIFY, "-CAfile", CA, "-verify_hostname", name.removesuffix(".pem"), name)


def test_documented_command_extends_the_authority_with_its_key(directory: Path) -> None:
    """Existing node certificates stay valid under it."""
    (line,) = [line for line in OPERATIONS.read_text().splitlines() if line.startswith("openssl x509 -in ca.pem")]
    before = contents(directory)
    command = ["sh", "-c", line.replace("3652", "5000")]
    subprocess.run(command, cwd=directory, check=True)  # noqa: S603
    assert {name for name, content in contents(directory).items() if content != before[name]} == {CA}
    assert good_until(directory / CA) - datetime.now(UTC) > timedelta(days=4990)
    for name in NODES:
        openssl(directory, *VERIFY, "-CAfile", CA, name)


@pytest.mark.parametrize("arguments", [(), ("--renew-certificates",)], ids=["kept", "renewed"])
def test_command_prints_the_expiry_of_each_certificate(directory: Path, arguments: tuple[str, ...]) -> None:
    """The list includes kept certificates and the public one."""
    command = [sys.executable, "-m", "deploy", "secrets", "--directory", str(directory), *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S603
    assert dict(line.split(" expires on ") for line in done.stdout.splitlines() if " expires on " in line) == {
        name: f"{good_until(directory / name):%Y-%m-%d}" for name in {CA, "edge-tls.pem", *NODES}
    }
