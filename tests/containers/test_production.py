"""The production stack under load: rolling update, metrics and traces."""

import asyncio
import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from http import HTTPStatus

import httpx
import pytest
import yaml

from deploy.secret_files import AMQPS_PORT, COMPOSE
from dev.processes import REPOSITORY
from shared.amqp.topology import QUORUM_EXPIRES_MS, QueueType
from tests.containers.conftest import PRODUCTION_BASES, Docker
from tests.containers.production import WORKERS, Production
from tests.faults.load import PASSWORD, Load
from tests.faults.transports import Edges, OverHttp

#: For all containers of a service, one after another.
ROLL_TIMEOUT_SECONDS = 300
CALLERS = 6
BROKER_METRICS_PORT = 15692
PROMETHEUS = REPOSITORY / "deploy/prometheus/prometheus.yml"
SERVICES = ("edge", *WORKERS)
PATIENCE_SECONDS = 180
REPLICATED = re.compile(rf"rpc\.verify(\.health)?\.{QueueType.QUORUM}")
#: A queue with an expiry of 3 seconds was measured to expire after 5.
EXPIRY_MARGIN_SECONDS = 5

#: Prints the metric names of each address of a host name, as Prometheus resolves it.
SCRAPE = """
import json, re, socket, sys, urllib.request
name, port, path = sys.argv[1:]
addresses = sorted({entry[4][0] for entry in socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM)})
pages = [urllib.request.urlopen(f"http://{each}:{port}{path}", timeout=30).read().decode() for each in addresses]
print(json.dumps({each: sorted(set(re.findall(r"^[a-z]\\w+", page, re.M))) for each, page in zip(addresses, pages)}))
"""
#: Prints the reachable targets as a JSON list.
REACH = """
import json, socket, sys
def reached(target):
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError:
        return False
    return True
print(json.dumps([target for target in sys.argv[1:] if reached(target)]))
"""
#: Prints which of these texts the received spans contain.
COLLECT = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Take(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        texts = ("jincor-auth-edge", "jincor-auth-worker", "POST /auth/verify", "process rpc:auth.verify")
        print(self.path, *(f"<{text}>" for text in texts if text.encode() in body))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
HTTPServer(("", 4318), Take).serve_forever()
"""


@pytest.fixture(scope="module")
def production(
    docker: Docker, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    try:
        for base in PRODUCTION_BASES:
            docker("image", "inspect", base)
    except AssertionError:
        pytest.skip(f"not all of {', '.join(PRODUCTION_BASES)} are on this machine: pull them to test production")
    assert set(images.values()) == {"jincor-auth-api:test", "jincor-auth-worker:test"}
    production = Production(docker, tmp_path_factory.mktemp("production"))
    with production.up():
        yield production


async def test_rolling_update_under_load_fails_no_request(
    production: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    """`deploy/roll.sh` replaces every edge and worker; clients keep connections and never retry."""
    old = {name: production.containers(name) for name in (*WORKERS, "edge")}
    async with Edges([production.url], trusted=production.trusted()) as proxy:
        registering = {"email": "rolling@tenant.test", "password": PASSWORD}
        headers = {"X-Registration-Key": production.registration_key}
        tenant = (await proxy.send("POST", "/tenant", json=registering, headers=headers)).raise_for_status().json()
        async with Load.running([OverHttp(proxy, tenant["token"])], CALLERS) as load:
            for name in old:
                await asyncio.to_thread(roll, production, name)
                await load.acknowledged(10, "http")
    answers, codes = load.records.answers, load.records.codes()
    seconds = answers[-1].ended - answers[0].started
    with capsys.disabled():  # the figure is for docs/deployment.md
        print(f"\nreplaced in {seconds:.0f} s: {dict(codes)}, the slowest in {load.records.slowest():.1f} s")  # noqa: T201
    assert not load.records.violations
    assert set(codes) == {"ok", "invalid_token"}, codes
    for name, containers in old.items():
        new = production.containers(name)
        assert len(new) == len(containers)
        assert not set(new) & set(containers), name


def roll(production: Production, service: str) -> None:
    """Roll a service as docs/deployment.md describes."""
    done = subprocess.run(  # noqa: S603 - our own script
        ["sh", str(REPOSITORY / "deploy/roll.sh"), service],  # noqa: S607
        env={**production.env, "COMPOSE": " ".join(("docker", *production.command))},
        capture_output=True,
        text=True,
        timeout=ROLL_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", ["/health/live", "/docs", "/tenant/login"])
def test_plain_http_is_refused(production: Production, path: str) -> None:
    """A client would follow a redirect after sending its secrets in clear."""
    answer = httpx.post(production.plain_url + path, json={"password": PASSWORD})
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "https" in answer.text


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_of_every_process_are_reachable_only_inside(production: Production, service: str) -> None:
    """Prometheus finds each container by the name and the port of its example configuration."""
    (port,) = {
        config["port"]
        for job in yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
        for config in job.get("dns_sd_configs", ())
        if service in config["names"]
    }
    scraped = json.loads(production.python("telemetry", SCRAPE, service, str(port), "/metrics"))
    containers = [production.inspected(each) for each in production.containers(service)]
    networks = [each["NetworkSettings"]["Networks"] for each in containers]
    assert len(containers) == 2
    assert set(scraped) == {network[f"{production.project}_telemetry"]["IPAddress"] for network in networks}
    expected = "jincor_auth_edge_broker_connected" if service == "edge" else "jincor_auth_worker_broker_connected"
    assert all(expected in names for names in scraped.values())
    assert not any(each["HostConfig"]["PortBindings"] for each in containers)


def test_each_broker_exports_the_lengths_of_the_queues_it_leads(production: Production) -> None:
    """The targets are those of the example configuration. A broker may lead no queue."""
    (job,) = [job for job in yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"] if job["job_name"] == "rabbitmq"]
    targets = job["static_configs"][0]["targets"]
    assert len(targets) == 3
    told = []
    for target in targets:
        (names,) = json.loads(
            production.python("broker-telemetry", SCRAPE, *target.split(":"), job["metrics_path"])
        ).values()
        told.append(names)
    assert all("rabbitmq_build_info" in names for names in told)
    assert any("rabbitmq_queue_messages_ready" in names for names in told)


@pytest.mark.parametrize("origin", ["broker", "telemetry", "edge", "worker-verify"])
def test_broker_metrics_are_unreachable_from_other_networks(production: Production, origin: str) -> None:
    """These metrics need no password and name queues. A service on the same network is refused at each
    address of each node.
    """
    nodes = [production.inspected(*production.containers(name)) for name in COMPOSE.brokers]
    addresses = [network["IPAddress"] for node in nodes for network in node["NetworkSettings"]["Networks"].values()]
    assert len(addresses) == 2 * len(nodes)
    metrics = [f"{host}:{BROKER_METRICS_PORT}" for host in (*COMPOSE.brokers, *addresses)]
    amqp = [f"{host}:{AMQPS_PORT}" for host in COMPOSE.brokers]
    if origin in SERVICES:
        inside = production.containers(origin)[0]
        printed = production.docker("exec", inside, "python", "-c", REACH, *metrics, *amqp)
    else:
        printed = production.python(origin, REACH, *metrics, *amqp)
    assert json.loads(printed) == ([] if origin == "telemetry" else amqp)


def test_containers_run_without_root_capabilities_or_writable_files(production: Production) -> None:
    """Secret files are readable only by owner and group."""
    for name in (*COMPOSE.brokers, "proxy", *SERVICES):
        container = production.containers(name)[0]
        status = production.docker("exec", container, "cat", "/proc/1/status")
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in told["Uid"].split(), name
        assert {int(told[kind], 16) for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}, name
        assert told["NoNewPrivs"] == "1", name
        written = production.docker(
            "exec", container, "sh", "-c", "touch /opt/x /etc/x /usr/x 2>/dev/null && echo written; true"
        )
        assert not written, name
        modes = production.docker("exec", container, "sh", "-c", "stat -L -c %a /run/secrets/*").split()
        assert set(modes) == {"440"}, name


async def test_lane_starts_while_a_broker_node_is_down_and_spreads_to_it_later(production: Production) -> None:
    """Its queues are declared while the broker waits for the lost node."""
    (lost,) = production.containers("rabbitmq-3")
    production.compose("stop", "worker-verify")
    await asyncio.sleep(QUORUM_EXPIRES_MS / 1000 + EXPIRY_MARGIN_SECONDS)
    await until_running_on(production, set())
    production.docker("stop", lost)
    production.compose("up", "--detach", "--no-deps", "--wait", "worker-verify")
    # Healthy workers take requests. Members are not listed here, since rabbitmqctl waits for the node too.
    production.docker("start", lost)
    await until_running_on(production, {3})


async def until_running_on(production: Production, nodes: set[int]) -> None:
    """Wait until each replicated queue of the lane `verify` runs on this many nodes. Raise `TimeoutError`.

    Health queues of single workers are not counted: each is on one node.
    """
    (node,) = production.containers("rabbitmq-1")
    columns = ("name", "online", "--formatter", "json")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            # On a busy node rabbitmqctl fails now and then.
            with contextlib.suppress(AssertionError):
                listed = production.docker("exec", node, "rabbitmqctl", "--quiet", "list_queues", *columns)
                queues = [each for each in json.loads(listed) if REPLICATED.fullmatch(each["name"])]
                if {len(queue["online"]) for queue in queues} == nodes:
                    return
            await asyncio.sleep(1)


async def test_traces_of_edge_and_worker_arrive_at_the_configured_collector(production: Production) -> None:
    production.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318"
    with production.running_script("telemetry", "collector", COLLECT) as printed:
        production.compose("up", "--detach", "--wait", "edge", "worker-verify")
        async with Edges([production.url], trusted=production.trusted()) as proxy:
            registering = {"email": "traced@tenant.test", "password": PASSWORD}
            headers = {"X-Registration-Key": production.registration_key}
            tenant = (await proxy.send("POST", "/tenant", json=registering, headers=headers)).raise_for_status().json()
            headers = {"Authorization": f"Bearer {tenant['token']}"}
            refused = await proxy.send("POST", "/auth/verify", json={"token": tenant["token"]}, headers=headers)
        assert refused.json()["code"] == "invalid_token"
        async with asyncio.timeout(PATIENCE_SECONDS):
            for text in ("jincor-auth-edge", "jincor-auth-worker", "POST /auth/verify", "process rpc:auth.verify"):
                while f"<{text}>" not in printed():  # noqa: ASYNC110 - other processes send them
                    await asyncio.sleep(1)
