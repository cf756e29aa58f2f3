"""A web service of a tenant: a process that serves an ASGI application."""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx

from dev.ports import LOOPBACK, accepts_connections, free_port
from dev.processes import ChildProcess, Service
from tests.e2e.tenant import PASSWORD, Tenant
from tests.service import RunningService

START_TIMEOUT_SECONDS = 60


def environment_of(service: RunningService, tenant: Tenant) -> Mapping[str, str]:
    """Return the environment of the examples: the broker and the tenant's credentials."""
    return {**os.environ, "AMQP_URL": service.amqp_url, "AUTH_EMAIL": tenant.email, "AUTH_PASSWORD": PASSWORD}


@contextlib.asynccontextmanager
async def serving(
    python: str | Path, application: str, directory: str, env: Mapping[str, str], logs: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the application with uvicorn, yield an HTTP client, and require a clean exit."""
    port = free_port()
    argv = [str(python), "-m", "uvicorn", application, "--app-dir", directory, "--host", LOOPBACK, "--port", str(port)]
    process = ChildProcess(Service(application.partition(":")[0], argv, env), logs)
    process.start()
    try:
        await process.wait_until(lambda: accepts_connections(port), START_TIMEOUT_SECONDS)
        async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}", timeout=30) as client:
            yield client
    finally:
        exit_code = await process.terminate()
    log = process.log_path.read_text()
    assert exit_code in {0, -15}, log
    assert "Traceback" not in log, log
