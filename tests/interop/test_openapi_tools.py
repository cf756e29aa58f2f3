"""The OpenAPI document, read by linters and by a generator of TypeScript types."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from api.main import create_app
from api.settings import Settings
from tests.interop.programs import SEARCH_PATH, program

SOURCES = Path(__file__).parent / "openapi"
#: Redocly CLI needs this version of Node.js; Debian 12 has 18.
NODE = (20, 19)
INSTALL_SECONDS = 240
TOOL_SECONDS = 120


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed tools, and with the document of an edge that has all routes."""
    node, npm = program("node", in_ci=True), program("npm", in_ci=True)
    version = _run(SOURCES, node, "--version").strip().removeprefix("v")
    if tuple(int(part) for part in version.split(".")[:2]) < NODE:
        reason = f"Node.js {version} is too old, {NODE[0]}.{NODE[1]} is needed"
        pytest.fail(reason) if "INTEROP" in os.environ else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("openapi") / "tools"
    shutil.copytree(SOURCES, folder)
    settings = Settings(amqp_url="amqp://broker.invalid", forward_email="shop@example.com", forward_password="secret")
    (folder / "openapi.json").write_text(json.dumps(create_app(settings).openapi()))
    try:
        _run(folder, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", seconds=INSTALL_SECONDS)
    except AssertionError as failure:
        if {"CI", "INTEROP"} & os.environ.keys():
            raise
        pytest.skip(f"npm ci failed, perhaps without a network: {failure}")
    return folder


def _run(folder: Path, *command: str, seconds: float = TOOL_SECONDS) -> str:
    """Run a command, which must succeed, and return its output."""
    path = f"{folder / 'node_modules' / '.bin'}:{SEARCH_PATH}"
    # Redocly CLI would report its use over the internet.
    env = {**os.environ, "PATH": path, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    program_path = shutil.which(command[0], path=path)
    assert program_path, command
    ran = subprocess.run(  # noqa: S603 - pinned tools
        [program_path, *command[1:]], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=seconds
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_openapi_document_in_spectral_has_no_findings(tools: Path) -> None:
    _run(tools, "spectral", "lint", "--ruleset", ".spectral.yaml", "--fail-severity", "hint", "openapi.json")


def test_openapi_document_in_redocly_has_no_findings(tools: Path) -> None:
    _run(tools, "redocly", "lint", "--config", "redocly.yaml", "openapi.json")


def test_typescript_types_of_scopes_accept_text_and_objects(tools: Path) -> None:
    _run(tools, "openapi-typescript", "openapi.json", "--output", "schema.d.ts")
    _run(tools, "tsc", "--noEmit", "--strict", "scopes.ts")
