"""The edge against its own OpenAPI document: all that the document allows, much that it does not, and sequences."""

import asyncio
import json
import os
import sys
from pathlib import Path

import httpx

from tests.e2e.tenant import Tenant
from tests.fuzz.conftest import IS_LONG, tried
from tests.service import RunningService

HERE = Path(__file__).parent
#: Per operation, besides the examples and the edge cases of each of its parameters, which are some 30.
EXAMPLES = 500 if IS_LONG else 10
SEED = [] if IS_LONG else ["--seed=1"]
#: Several times what an ordinary run takes with both cores busy.
TIMEOUT_SECONDS = 7_200 if IS_LONG else 600


async def test_the_edge_does_what_its_document_says(unharmed: RunningService, tmp_path: Path) -> None:
    """Every check of schemathesis holds for all that it comes up with: no 5xx, and nothing that is not documented."""
    url = unharmed.urls[0]
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        tenant = await Tenant.register(http)
    report = tmp_path / "report.json"
    arguments = [
        *("--config-file", str(HERE / "schemathesis.toml"), "run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {tenant.token}", "--max-examples", str(EXAMPLES), *SEED),
        *("--report-json-path", str(report), "--suppress-health-check", "all"),
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", *arguments),
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(TIMEOUT_SECONDS):
        output, _ = await process.communicate()

    tried["HTTP requests of the OpenAPI document"] += _cases(report)
    assert process.returncode == 0, output.decode()


def _cases(report: Path) -> int:
    """How many requests were made up."""
    return int(json.loads(report.read_text())["test_cases"]["generated"])
