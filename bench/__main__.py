"""`python -m bench`: starts a stack of its own, loads it from this process, and prints what it did.

Absolute figures mean nothing on a shared machine, so each stands beside a floor measured in the same rounds. This
process is the load generator and nothing else; service, broker, database, echo and the floor's edge have processes of
their own. All of them share the cores of the machine.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench import measures
from bench.http_load import UnexpectedAnswer
from bench.picture import draw
from bench.report import Report
from bench.scaling import scale
from bench.stage import set_up
from dev.processes import StackError
from worker.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--scaling", action="store_true", help="instead, measure 1, 2 and 4 workers and edges")
    scaling = parser.parse_args().scaling
    try:
        uvloop.run(scale() if scaling else _bench())
    except (StackError, UnexpectedAnswer) as error:
        sys.exit(f"bench: {error}")


async def _bench() -> None:
    began = time.monotonic()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="jincor-auth-bench-") as directory:
        async with set_up(Path(directory)) as stage:
            measures.memory(stage, "at rest", report)
            logins = await stage.population.add(tenants=1, sessions_each=1_000, logins=1_000)
            await stage.population.add(tenants=99, sessions_each=10, logins=0)
            requests = await measures.registered(stage, logins)
            await measures.verify_throughput(stage, requests, report)
            await measures.verify_at_a_remembering_edge(stage, requests, report)
            await measures.verify_latency(stage, requests, logins[0], report)
            await measures.verify_over_amqp(stage, logins, report)
            await measures.verify_from_memory(stage, logins, report)
            await measures.logins_per_second(stage, requests, report)
            await measures.verify_in_a_storm(stage, requests, report)
            ending = await stage.population.add(tenants=1, sessions_each=measures.LOGOUTS, logins=measures.LOGOUTS)
            await measures.revocation_lag(stage, ending, report)
            await measures.verify_in_a_crowd(stage, requests, report)
            measures.memory(stage, "at the end", report)
    measures.memory_figures(report, Settings.model_fields["hash_memory_kib"].default / 1024 * (os.cpu_count() or 1))
    report.print()
    minutes = (time.monotonic() - began) / 60
    print(f"\n{os.cpu_count()} cores for everything; took {minutes:.1f} minutes")
    print(f"Written to {report.write_json()} and {draw(report)}")


main()
