"""`python -m bench`: starts its own stack, puts load on it and prints the figures.

Absolute figures mean little on a shared machine, so each figure is compared with a floor from the same rounds.
This process only generates load. Service, broker, database, echo and the edge of the floor are separate
processes. All of them share the cores of the machine.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench import logins, verifications
from bench.http_load import UnexpectedAnswer
from bench.load import CONNECTIONS, MANY_CONNECTIONS, registered
from bench.logins import LOGOUTS
from bench.memory import add_memory, note_memory
from bench.picture import draw
from bench.report import Report
from bench.scaling import scale
from bench.stage import set_up
from bench.versions import add_cpu
from dev.processes import StackError


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--scaling", action="store_true", help="measure only 1, 2 and 4 workers and edges")
    scaling = parser.parse_args().scaling
    try:
        uvloop.run(scale() if scaling else _bench())
    except (StackError, UnexpectedAnswer) as error:
        sys.exit(f"bench: {error}")


async def _bench() -> None:
    report = Report()
    with tempfile.TemporaryDirectory(prefix="jincor-auth-bench-") as directory:
        async with set_up(Path(directory)) as stage:
            note_memory(stage, "at rest", report)
            live = await stage.population.add_few()
            requests = await registered(stage, live)
            for connections in (CONNECTIONS, MANY_CONNECTIONS):
                await verifications.verify_throughput(stage, requests, report, connections)
            await verifications.verify_at_a_caching_edge(stage, requests, report)
            await verifications.verify_latency(stage, requests, live[0], report)
            await verifications.verify_over_amqp(stage, live, report)
            await verifications.verify_from_memory(stage, live, report)
            await logins.logins_per_second(stage, requests, report)
            await logins.verify_in_a_storm(stage, requests, report)
            ending = await stage.population.add(tenants=1, sessions_each=LOGOUTS, logins=LOGOUTS)
            await logins.revocation_lag(stage, ending, report)
            await verifications.verify_in_a_crowd(stage, requests, report)
            note_memory(stage, "at the end", report)
    await add_cpu(report)
    add_memory(report)
    report.print()
    minutes = (time.monotonic() - report.began) / 60
    print(f"\n{os.cpu_count()} cores for service and load generator together; duration: {minutes:.1f} minutes")
    print(f"Wrote {report.write_json()} and {draw(report)}")


main()
