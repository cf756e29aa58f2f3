"""The Prometheus metrics of a process."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.transports import PATIENCE_SECONDS


async def metric_value(port: int, metric: str, **labels: str) -> float:
    """Return the value of `jincor_auth_<metric>` with these labels; 0 if it does not exist yet."""
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as http:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    wanted = (f"jincor_auth_{metric}", labels)
    return next((sample.value for sample in samples if (sample.name, sample.labels) == wanted), 0.0)
