"""CPU time of a verification here and at another commit: `python -m bench.versions COMMIT`.

Each version has an edge and workers of its own, on one broker and one database. Short rounds of the two versions
alternate, and the median of their ratios counts, so that other load on the machine affects both alike.
"""

import argparse
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import uvloop
from yarl import URL

from bench.http_load import UnexpectedAnswer
from bench.load import http_load, verifications_of
from bench.population import Population
from bench.report import Figure, Report, Target, print_rows
from bench.stage import ISSUER, new_master_keys, until_it_says, until_ready
from bench.usage import CpuUse
from dev.mongo import MongoServer
from dev.ports import LOOPBACK, free_port
from dev.processes import REPOSITORY, ChildProcess, StackError
from dev.rabbitmq import RabbitNode
from dev.services import LANES, api_service, create_indexes, worker_service

ROUNDS: Final = 15
SECONDS: Final = 1.0
#: The last commit before verifications had a plain path, and the highest ratios to its CPU time.
REFERENCE: Final = "ccc02d8ea6"
TARGETS: Final = {"api": 0.45, "worker-verify": 0.8}
REPORTED_ROUNDS: Final = 6
#: Source folders that the service and its command for indexes need.
FOLDERS: Final = ("shared", "api", "worker")
#: The processes on the path of a verification.
MEASURED: Final = ("api", "worker-verify")


@dataclass(frozen=True, slots=True)
class Version:
    """The running edge and workers of one version."""

    url: str
    pids: dict[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.versions", description=__doc__)
    parser.add_argument("commit", help="the commit to compare with, such as the one in tests/mixed/PREVIOUS")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        uvloop.run(_print_comparison(arguments.commit, arguments.rounds))
    except (StackError, UnexpectedAnswer) as error:
        sys.exit(f"bench: {error}")


async def add_cpu(report: Report) -> None:
    """Measure the CPU of a verification at the edge and at the worker, beside that of `REFERENCE` as the floor.

    A shallow clone lacks that commit. The other rows of the report do not need it.
    """
    if not _has(REFERENCE):
        print(f"  CPU of a verification is not compared: this clone has no commit {REFERENCE}")
        return
    compared = await compare(REFERENCE, REPORTED_ROUNDS)
    for process, limit in TARGETS.items():
        name = f"CPU of a verification, {process}"
        figure = Figure(name, "ms", Target(limit, at_most=True), f"that of commit {REFERENCE}")
        for here, there in zip(compared[process]["here"], compared[process]["other"], strict=True):
            figure.add(here, there)
        report.add(figure)


async def _print_comparison(commit: str, rounds: int) -> None:
    """Print the CPU time of a verification for both versions, and the median of the ratios of all rounds."""
    rows: list[tuple[str, ...]] = [("CPU of a verification", commit[:12], "here", "ratio", "quartiles of the ratio")]
    for process, taken in (await compare(commit, rounds)).items():
        ratios = [here / there for here, there in zip(taken["here"], taken["other"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        times = (f"{statistics.median(taken[label]):.3f} ms" for label in ("other", "here"))
        rows.append((process, *times, f"{middle:.3f}", f"{low:.3f} to {high:.3f}"))
    print_rows(rows)


async def compare(commit: str, rounds: int) -> Mapping[str, Mapping[str, Sequence[float]]]:
    """Return the CPU milliseconds of a verification in each round, by process and by version: `other` or `here`."""
    each: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="jincor-auth-bench-") as name:
        directory = Path(name)
        other = _extracted(commit, directory / "other")
        async with AsyncExitStack() as stack:
            node, server = RabbitNode(directory / "rabbitmq"), MongoServer(directory / "mongo")
            for backend in (node, server):
                stack.push_async_callback(backend.stop)
                await backend.start()
            keys = new_master_keys()
            for tree in (REPOSITORY, other):
                if (tree / "worker/indexes.py").exists():  # workers of old versions create their indexes themselves
                    await create_indexes(server.url, directory, tree)
            population = await stack.enter_async_context(Population(server.url, keys, ISSUER))
            logins = await population.add(tenants=1, sessions_each=1_000, logins=1_000)
            requests = verifications_of(logins)
            versions = {
                label: await stack.enter_async_context(_running(label, tree, node, server.url, directory))
                for label, tree in (("other", other), ("here", REPOSITORY))
            }
            for version in versions.values():
                await http_load(version.url, requests, SECONDS)
            for number in range(rounds):
                for label in sorted(versions, reverse=bool(number % 2)):
                    version = versions[label]
                    cpu = CpuUse(version.pids)
                    with cpu.counted():
                        done = await http_load(version.url, requests, SECONDS)
                    used = cpu.ms_each(len(done.durations))
                    for process, milliseconds in {**used, "both": sum(used.values())}.items():
                        each.setdefault(process, {}).setdefault(label, []).append(milliseconds)
    return each


def _has(commit: str) -> bool:
    command = ["git", "-C", str(REPOSITORY), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - a fixed program


def _extracted(commit: str, directory: Path) -> Path:
    """Extract the source of a commit into the directory, and return it."""
    command = ["git", "-C", str(REPOSITORY), "archive", "--format=tar", commit, *FOLDERS]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - a fixed program
    if done.returncode:
        raise StackError(done.stderr.decode().strip())
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


@asynccontextmanager
async def _running(label: str, tree: Path, node: RabbitNode, mongo_url: str, directory: Path) -> AsyncIterator[Version]:
    """Run the edge and the workers of one version, on a virtual host of its own."""
    await node.ctl("add_vhost", label)
    await node.ctl("set_permissions", "-p", label, URL(node.amqp_url).user or "", ".*", ".*", ".*")
    amqp_url, port = str(URL(node.amqp_url).with_path(f"/{label}")), free_port()
    keys = directory / "master-keys"  # not read: the keys are in the environment
    # With a low priority, the password worker would not start while other programs use all cores.
    env = {"AUTH_PASSWORD_NICE": "0"}
    workers = [
        worker_service(lanes, amqp_url=amqp_url, mongo_url=mongo_url, master_keys_file=keys, env=env) for lanes in LANES
    ]
    services = [replace(each, directory=tree) for each in (*workers, api_service(port, amqp_url=amqp_url))]
    async with AsyncExitStack() as stack:
        children = [ChildProcess(service, directory / f"logs-{label}") for service in services]
        for child in children:
            child.start()
            stack.push_async_callback(child.terminate)
        *of_lanes, edge = children
        for child in of_lanes:
            await until_it_says(child, "taking requests")
        url = f"http://{LOOPBACK}:{port}"
        await until_ready(edge, url)
        yield Version(url, {child.name: child.pid for child in children if child.name in MEASURED})


if __name__ == "__main__":
    main()
