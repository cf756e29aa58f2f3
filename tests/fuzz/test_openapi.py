"""The edge compared with its OpenAPI document by schemathesis."""

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
#: Per operation, in addition to some 30 examples and edge cases of its parameters.
EXAMPLES = 500 if IS_LONG else 10
SEED = [] if IS_LONG else ["--seed=1"]
#: Several times the duration of an ordinary run on busy cores.
TIMEOUT_SECONDS = 7_200 if IS_LONG else 600


async def test_edge_responds_as_its_openapi_document_declares(unharmed: RunningService, tmp_path: Path) -> None:
    """Generated requests cause no 5xx and no undocumented response."""
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
    """Return the number of generated requests."""
    return int(json.loads(report.read_text())["test_cases"]["generated"])
