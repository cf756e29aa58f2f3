"""The metrics of each process of a running service."""

import secrets
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from dev.ports import free_port
from tests.backends import Backend
from tests.e2e.tenant import Tenant
from tests.service import running_service

EDGE, VERIFY, PASSWORD = "api-0", "worker-verify-0", "worker-password-0"


async def test_process_exports_its_own_counts_without_secrets_or_names(backend: Backend, tmp_path: Path) -> None:
    """The test makes one login, three verifications (one with an invalid token) and one logout."""
    ports = {name: free_port() for name in (EDGE, VERIFY, PASSWORD)}
    async with (
        running_service(
            tmp_path,
            await backend.vhost(),
            backend.database_url(),
            env={"AUTH_VERIFY_CACHE_SECONDS": "60"},
            env_of={name: {"AUTH_METRICS_PORT": str(port)} for name, port in ports.items()},
        ) as service,
        httpx.AsyncClient(base_url=service.urls[0], timeout=30) as http,
    ):
        login = f"login-{secrets.token_hex(8)}"
        tenant = await Tenant.register(http)
        await tenant.create(login)
        token = (await tenant.login(login)).json()["accessToken"]
        for each in (token, "none", token):
            await tenant.verify(each)
        await tenant.logout(token)
        public = await http.get("/metrics")
        scraped = {name: (await http.get(f"http://127.0.0.1:{port}/metrics")).text for name, port in ports.items()}

    assert public.status_code == 404
    edge, verify, password = (
        {
            (sample.name.removeprefix("jincor_auth_"), *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(scraped[name])
            for sample in family.samples
        }
        for name in (EDGE, VERIFY, PASSWORD)
    )
    assert edge["edge_requests_total", "POST", "/auth/verify", "200"] == 2
    assert edge["edge_requests_total", "POST", "/auth/verify", "400"] == 1
    assert edge["edge_request_duration_seconds_count", "POST", "/auth/verify"] == 3
    assert sum(edge["edge_verify_cache_total", result] for result in ("hit", "miss", "distrust")) == 3
    assert edge["edge_broker_connected",] == 1
    assert verify["worker_verifications_total", "invalid_token"] == 1
    assert verify["worker_verifications_total", "ok"] in {1, 2}  # the cache may answer the second one
    assert verify["worker_queue_wait_seconds_count", "auth.verify"] >= 2
    assert verify["worker_sessions_revoked_total", "logout"] == 1
    assert verify["worker_event_loop_lag_seconds_count",] > 0
    assert password["worker_requests_total", "ok", "auth.login"] == 1
    assert password["worker_sessions_created_total", "user"] == 1
    assert password["worker_sessions_created_total", "tenant"] >= 1
    assert password["worker_hash_duration_seconds_count",] == 3
    everything = "\n".join(scraped.values())
    signature = token.rpartition(".")[2]
    for secret in (login, tenant.id, tenant.email, signature, tenant.token):
        assert secret not in everything
