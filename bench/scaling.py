"""Throughput and CPU time with more workers and edges: `python -m bench --scaling`.

On one machine all processes share its cores with the load generator. The CPU time of a verification is therefore
the meaningful figure: if it stays constant, throughput grows with the cores of further machines.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

from bench.load import http_load, registered
from bench.report import print_rows
from bench.stage import set_up
from bench.usage import CpuUse

COPIES: Final = (1, 2, 4)
ROUNDS: Final = 3
SECONDS: Final = 2.0
#: Connections for each edge, since each edge batches its own requests.
CONNECTIONS_OF_AN_EDGE: Final = 32


async def scale() -> None:
    """Print throughput and CPU by kind of process for each number of copies."""
    rows: list[tuple[str, ...]] = [
        ("workers and edges", "connections", "requests/s", "cores used", "api", "worker-verify", "rabbitmq", "mongo")
    ]
    with tempfile.TemporaryDirectory(prefix="jincor-auth-bench-") as directory:
        async with set_up(Path(directory)) as stage:
            logins = await stage.population.add(tenants=1, sessions_each=1_000, logins=1_000)
            requests = (await registered(stage, logins)).verifications
            for copies in COPIES:
                async with stage.more(copies - 1, copies - 1) as more:
                    urls = [stage.stack.url, *more]
                    connections = CONNECTIONS_OF_AN_EDGE * copies
                    await http_load(urls, requests, SECONDS / 2, connections)
                    cpu = CpuUse(stage.pids)
                    done, elapsed = 0, 0.0
                    for _ in range(ROUNDS):
                        with cpu.counted():
                            verified = await http_load(urls, requests, SECONDS, connections)
                        done += len(verified.durations)
                        elapsed += verified.elapsed
                each = cpu.ms_each(done)
                used = [sum(ms for name, ms in each.items() if name.startswith(kind)) for kind in rows[0][4:]]
                rows.append(
                    (
                        str(copies),
                        str(connections),
                        f"{done / elapsed:.0f}",
                        f"{sum(used) / 1000 * done / elapsed:.2f}",
                        *(f"{ms:.3f} ms" for ms in used),
                    )
                )
    print(f"\n{os.cpu_count()} cores for service and load generator together; CPU in ms per verification")
    print_rows(rows)
