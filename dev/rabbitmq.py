"""A private RabbitMQ node from the distribution's package, with its own data, ports, cookie and epmd.

The Erlang VM and epmd are children of this process, not daemons. With `RUNNING_UNDER_SYSTEMD` the start
script replaces itself with the VM, and epmd is started here before the VM would start it.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Final

from dev.ports import LOOPBACK, accepts_connections, keep_ports
from dev.processes import ChildProcess, Service, StackError

START_TIMEOUT_SECONDS: Final = 90
STOP_GRACE_SECONDS: Final = 30

#: Debian's own scripts. Its wrappers on PATH only accept the users root and rabbitmq.
PACKAGED_SCRIPTS: Final = Path("/usr/lib/rabbitmq/bin")

#: One scheduler without busy waiting, because the node shares its machine, and no listener on the network.
ERLANG_ARGUMENTS: Final = "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}"


class RabbitNode:
    """A node with its data, ports and name in `directory`. `config` is the text of its rabbitmq.conf.

    Missing ports are chosen in the constructor: the last used ones if they are free.
    """

    def __init__(
        self,
        directory: Path,
        *,
        amqp_port: int | None = None,
        dist_port: int | None = None,
        epmd_port: int | None = None,
        config: str = "",
        log_directory: Path | None = None,
        beside: "RabbitNode | None" = None,
    ) -> None:
        """Prepare the node. `beside` is a node of the same cluster that starts before it and stops after it."""
        self._beside = beside
        self.directory = directory.resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ports: dict[str, int] = keep_ports(
            self.directory / "ports.json",
            # The nodes of a cluster find each other through a shared epmd.
            {"amqp": amqp_port, "dist": dist_port, "epmd": beside.ports["epmd"] if beside else epmd_port},
        )
        # The data belongs to the node name, and two nodes on one machine need different names.
        self.nodename = f"jincor-{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]}@localhost"
        self._config = config + (_joins(beside.nodename) if beside else "")
        self._env = self._environment()
        logs = log_directory or self.directory / "logs"
        self.epmd: ChildProcess = beside.epmd if beside else ChildProcess(self._epmd_service(), logs)
        self._broker = ChildProcess(self._broker_service(), logs)

    @property
    def amqp_url(self) -> str:
        return f"amqp://guest:guest@{LOOPBACK}:{self.ports['amqp']}/%2F"

    @property
    def pid(self) -> int:
        """Process id of the Erlang VM."""
        return self._broker.pid

    @property
    def process(self) -> ChildProcess:
        return self._broker

    async def start(self) -> None:
        """Start the node and wait until it speaks AMQP. Raises `StackError` with the end of its log otherwise."""
        self._write_files()
        if not self.epmd.running:
            self.epmd.start()
            await self.epmd.wait_until(lambda: accepts_connections(self.ports["epmd"]), START_TIMEOUT_SECONDS)
        self._broker.start()
        await self._broker.wait_until(self._speaks_amqp, START_TIMEOUT_SECONDS)

    async def stop(self) -> int | None:
        """Stop the node and return the exit code of the Erlang VM. Does nothing if it is not running."""
        exit_code = await self._broker.terminate(STOP_GRACE_SECONDS)
        if self._beside is None:
            await self.epmd.terminate()
        return exit_code

    async def kill(self) -> None:
        """Kill the Erlang VM with SIGKILL, to simulate a crash; `start` restarts it with the same data and ports."""
        await self._broker.kill()

    async def ctl(self, *arguments: str, tool: str = "rabbitmqctl") -> str:
        """Run rabbitmqctl or another tool of RabbitMQ against this node and return its output.

        Raises `StackError` if it fails.
        """
        if not self.epmd.running:
            # rabbitmqctl would start an epmd that nothing stops.
            raise StackError(f"{tool} needs a running node")
        return await asyncio.to_thread(self._ctl, tool, *arguments)

    def _ctl(self, tool: str, *arguments: str) -> str:
        command = [str(_scripts() / tool), "--quiet", *arguments]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"{tool} {arguments[0]} failed: {done.stderr or done.stdout}".rstrip())
        return done.stdout

    async def _speaks_amqp(self) -> bool:
        """Return whether the node answers a protocol header with Connection.Start, which means that it is up."""
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, self.ports["amqp"])
            with closing(writer):
                writer.write(b"AMQP\x00\x00\x09\x01")
                return await reader.read(1) == b"\x01"
        except OSError:
            return False

    def _write_files(self) -> None:
        (self.directory / "rabbitmq.conf").write_text(self._config)
        (self.directory / "enabled_plugins").write_text("[].\n")
        (self.directory / "rabbitmq-env.conf").touch()
        cookie = self.directory / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(
                (self._beside.directory / cookie.name).read_text() if self._beside else secrets.token_hex(16)
            )
            # Erlang refuses a cookie that other users can read.
            cookie.chmod(0o400)

    def _environment(self) -> dict[str, str]:
        """Return the complete environment of the node. Variables missing here would come from /etc/rabbitmq."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.directory),
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_NODENAME": self.nodename,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.ports["amqp"]),
            "RABBITMQ_DIST_PORT": str(self.ports["dist"]),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.directory / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_ARGUMENTS,
        }

    def _epmd_service(self) -> Service:
        argv = ["epmd", "-port", str(self.ports["epmd"]), "-address", LOOPBACK]
        return Service("epmd", argv, self._env)

    def _broker_service(self) -> Service:
        return Service("rabbitmq", [str(_scripts() / "rabbitmq-server")], self._env)


def _joins(nodename: str) -> str:
    """Return the configuration of a node that joins the cluster of `nodename` at its first start."""
    return (
        "cluster_formation.peer_discovery_backend = classic_config\n"
        f"cluster_formation.classic_config.nodes.1 = {nodename}\n"
    )


def _scripts() -> Path:
    """Return the directory of RabbitMQ's scripts. Raises `StackError` if it is not installed."""
    if PACKAGED_SCRIPTS.is_dir():
        return PACKAGED_SCRIPTS
    if server := shutil.which("rabbitmq-server"):
        return Path(server).resolve().parent
    raise StackError("RabbitMQ is not installed: install rabbitmq-server, or set AMQP_URL to an existing broker")
