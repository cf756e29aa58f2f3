"""Edges, workers and clients of two versions on one broker and one database."""

import asyncio
import base64
import contextlib
import functools
import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol, Self

import httpx
from yarl import URL

from deploy.upgrade import of_both
from dev.ports import free_port
from dev.processes import ChildProcess
from dev.services import api_service, create_indexes, worker_service
from shared.contracts.operation import Lane
from tests.backends import Backend
from tests.e2e.tenant import PASSWORD, Tenant
from tests.mixed.versions import HERE, Version
from tests.service import takes_requests

#: Ends a test that would otherwise wait forever.
PATIENCE_SECONDS = 30.0
#: Error codes of mixed versions that cannot serve. Callers retry each of them.
CLOSED = frozenset({"unavailable", "overloaded", "deadline_exceeded"})
#: RFC 9110: temporary. A client of any version retries.
CLOSED_STATUSES = frozenset({503, 504})
CLIENT = HERE / "client.py"
#: Only an administrator may declare exchanges; the definitions contain them.
NOT_DECLARED = {"AUTH_DECLARE_TOPOLOGY": "false"}


@dataclass(frozen=True)
class Answer:
    """The answer to a command: a value, or the code of an error."""

    value: str = ""
    code: str = "ok"

    @property
    def ok(self) -> bool:
        return self.code == "ok"


class Asker(Protocol):
    """A way to call the workers: an edge, or a client on the broker."""

    name: str

    async def stop(self) -> None: ...

    async def ask(self, command: str, *arguments: str) -> Answer:
        """Answer `create` (login), `login` (login), `verify` (token), `logout` (token) or `revoke all` (login)."""


class Edge:
    """An edge, called over HTTP. A status that no mixture of versions may cause fails the test."""

    def __init__(self, name: str, process: ChildProcess, url: str) -> None:
        self.name = name
        self.process = process
        self.http = httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS)
        self.tenant: Tenant | None = None

    async def stop(self) -> None:
        """Stop its process."""
        await self.http.aclose()
        assert await self.process.terminate() == 0, self.name

    async def ready(self) -> bool:
        """Return whether it has found workers of every lane."""
        try:
            return (await self.http.get("/health/ready")).is_success
        except httpx.TransportError:
            return False

    async def ask(self, command: str, *arguments: str) -> Answer:
        assert self.tenant is not None
        (argument,) = arguments
        match command:
            case "create":
                response = await self.tenant.create(argument)
            case "login":
                response = await self.tenant.login(argument)
            case "verify":
                response = await self.tenant.verify(argument)
            case "logout":
                response = await self.tenant.logout(argument)
            case "revoke all":
                response = await self.tenant.call("DELETE", self.tenant.path(argument, "sessions"))
            case _:
                raise ValueError(command)
        body = response.json()
        if response.is_success:
            return Answer(str(body.get("accessToken") or body.get("decoded", {}).get("jti") or ""))
        if response.status_code in CLOSED_STATUSES:
            assert body["code"] in CLOSED, response.text
            assert int(response.headers["Retry-After"]) >= 1
        assert response.status_code < 500 or response.status_code in CLOSED_STATUSES, f"{self.name}: {response.text}"
        return Answer(code=body["code"])


@dataclass(eq=False)
class Client:
    """A service that uses the client library; see client.py."""

    name: str
    process: asyncio.subprocess.Process
    source: str = ""
    revoked: set[str] = field(default_factory=set)
    """The sessions whose revocations it received."""
    _answers: asyncio.Queue[Answer] = field(default_factory=asyncio.Queue)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    async def start(cls, name: str, tree: Path, env: Mapping[str, str]) -> Self:
        """Start it with the library of this source."""
        environment = {**os.environ, **env, "PYTHONPATH": str(tree)}
        # Without the script's folder on its path, which contains other modules.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", str(CLIENT)),
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        client = cls(name, process)
        client.source = str((await client._read())["started"])
        client._reading = asyncio.create_task(client._read_all())
        return client

    async def ask(self, command: str, *arguments: str) -> Answer:
        password = (PASSWORD,) if command in {"create", "login"} else ()
        assert self.process.stdin is not None
        async with self._asking, asyncio.timeout(PATIENCE_SECONDS):
            self.process.stdin.write(f"{json.dumps([command, *arguments, *password])}\n".encode())
            answer = await self._answers.get()
        assert answer.code != "internal", self.name
        return answer

    async def stop(self) -> None:
        """Close its input, which ends it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._reading
            assert await self.process.wait() == 0, self.name

    async def _read(self) -> dict[str, str]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        return dict(json.loads(line)) if line else {}

    async def _read_all(self) -> None:
        while line := await self._read():
            if "revoked" in line:
                self.revoked.add(line["revoked"])
            else:
                self._answers.put_nowait(Answer(**line))

    _reading: asyncio.Task[None] = field(init=False, repr=False)


@dataclass(frozen=True)
class State:
    """The running versions of each part, and the upgrade step that leads here."""

    step: str
    definitions: frozenset[str]
    edges: frozenset[str]
    clients: frozenset[str]
    workers: frozenset[str]

    def __str__(self) -> str:
        parts = ("definitions", "edges", "clients", "workers")
        return ", ".join([self.step, *(f"{part} {'+'.join(sorted(getattr(self, part)))}" for part in parts)])

    @classmethod
    def of(cls, step: str, definitions: str, edges: str, clients: str, workers: str) -> "State":
        """Return a state from versions given by name, separated by spaces."""
        return cls(step, *(frozenset(versions.split()) for versions in (definitions, edges, clients, workers)))


class Fleet:
    """Starts and stops the parts of both versions."""

    def __init__(
        self, directory: Path, backend: Backend, amqp_url: str, mongo_url: str, versions: Mapping[str, Version]
    ) -> None:
        self.amqp_url = amqp_url
        """The administrator's URL. Edges, workers and clients have users of their own with the permissions of the
        definitions."""
        self.edges: dict[str, Edge] = {}
        self.clients: dict[str, Client] = {}
        self.workers: dict[str, ChildProcess] = {}
        self.rotation: list[Asker] = []
        """The callers that traffic uses: those that existed before the last change and are not stopped by it."""
        self.passing = asyncio.Lock()
        """Held by traffic while it uses a caller."""
        self.tenant: Tenant | None = None
        self._backend = backend
        self._directory = directory
        self._vhost = (URL(amqp_url).path or "").removeprefix("/")
        # Users belong to the whole broker, so their names are unique.
        roles = ("edge", "worker", "service")
        self._users = {role: (f"{role}-{self._vhost}", secrets.token_urlsafe(16)) for role in roles}
        self._made: dict[str, dict[str, Any]] = {}
        """Definitions by the tenant of their service and by version."""
        self._imported: tuple[frozenset[str], str] | None = None
        self._mongo_url = mongo_url
        self._versions = versions
        self._keys = directory / "master-keys"
        self._keys.write_text(f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}")

    @property
    def askers(self) -> list[Asker]:
        """Every edge and every client."""
        return [*self.edges.values(), *self.clients.values()]

    async def change_to(self, state: State) -> None:
        """Start missing parts and then stop surplus ones, as a rolling upgrade does."""
        await self._import_definitions(state.definitions)
        await asyncio.gather(
            *(self._start_worker(name) for name in state.workers - self.workers.keys()),
            *(self._start_edge(name) for name in state.edges - self.edges.keys()),
        )
        if self.tenant is None:
            self.tenant = await Tenant.register(next(iter(self.edges.values())).http)
            await self._import_definitions(state.definitions)  # once more, with the service of this tenant
        for edge in self.edges.values():
            edge.tenant = self.tenant.through(edge.http)
        await asyncio.gather(*(self._start_client(name) for name in state.clients - self.clients.keys()))
        self.rotation = [
            *(edge for name, edge in self.edges.items() if name in state.edges),
            *(client for name, client in self.clients.items() if name in state.clients),
        ]
        async with self.passing:
            pass  # requests in flight to stopping parts finish, as behind a load balancer
        await asyncio.gather(
            *(self.clients.pop(name).stop() for name in self.clients.keys() - state.clients),
            *(self.edges.pop(name).stop() for name in self.edges.keys() - state.edges),
            self.stop_workers(state.workers),
        )

    async def stop_workers(self, but: Collection[str] = ()) -> None:
        """Stop the workers of all versions except these."""
        stopped = {name: self.workers.pop(name) for name in self.workers.keys() - but}
        codes = await asyncio.gather(*(worker.terminate() for worker in stopped.values()))
        assert set(codes) <= {0}, dict(zip(stopped, codes, strict=True))

    async def stop(self) -> None:
        """Stop everything."""
        await asyncio.gather(*(asker.stop() for asker in self.askers), self.stop_workers())

    def _url(self, role: str) -> str:
        user, password = self._users[role]
        return str(URL(self.amqp_url).with_user(user).with_password(password))

    async def _import_definitions(self, versions: frozenset[str]) -> None:
        """Import the definitions of one version, or of both, as an administrator does."""
        tenant = self.tenant.id if self.tenant else "nobody"
        if (versions, tenant) == self._imported:
            return
        for name in versions - self._made.get(tenant, {}).keys():
            input_value = {"vhost": self._vhost, **self._users, "tenant": tenant}
            made = await asyncio.to_thread(self._versions[name].run, "definitions.py", input_value)
            self._made.setdefault(tenant, {})[name] = made
        ordered = [self._made[tenant][name] for name in ("old", "new") if name in versions]
        path = self._directory / "definitions.json"
        path.write_text(json.dumps(of_both(*ordered) if len(ordered) > 1 else ordered[0]))
        await self._backend.ctl(["import_definitions", str(path)])
        self._imported = versions, tenant

    async def _start_worker(self, name: str) -> None:
        version = self._versions[name]
        if (version.tree / "worker/indexes.py").exists():  # older workers create their indexes themselves
            await create_indexes(self._mongo_url, self._directory / "logs", version.tree)
        service = worker_service(
            ",".join(Lane),
            amqp_url=self._url("worker"),
            mongo_url=self._mongo_url,
            master_keys_file=self._keys,
            name=f"worker-{name}",
            env={"AUTH_PASSWORD_NICE": "0", "AUTH_LOG_VERIFY_SAMPLE": "1", **NOT_DECLARED},
        )
        worker = self.workers[name] = ChildProcess(replace(service, directory=version.tree), self._directory / "logs")
        worker.start()
        await worker.wait_until(functools.partial(takes_requests, worker), PATIENCE_SECONDS)

    async def _start_edge(self, name: str) -> None:
        port = free_port()
        service = api_service(port, amqp_url=self._url("edge"), name=f"api-{name}", env=NOT_DECLARED)
        process = ChildProcess(replace(service, directory=self._versions[name].tree), self._directory / "logs")
        process.start()
        edge = Edge(process.name, process, f"http://127.0.0.1:{port}")
        await process.wait_until(edge.ready, PATIENCE_SECONDS)
        self.edges[name] = edge

    async def _start_client(self, name: str) -> None:
        assert self.tenant is not None
        env = {"AMQP_URL": self._url("service"), "EMAIL": self.tenant.email, "PASSWORD": PASSWORD}
        tree = self._versions[name].tree
        client = await Client.start(f"client-{name}", tree, env)
        assert Path(client.source).is_relative_to(tree), f"{client.name} runs from {client.source}"
        self.clients[name] = client

    def served(self) -> dict[str, Counter[str]]:
        """Return the requests that the workers of each version served, by operation and code: `auth.login ok`."""
        return {name: _served(worker) for name, worker in self.workers.items()}


def _served(worker: ChildProcess) -> Counter[str]:
    lines = (json.loads(line) for line in worker.tail(1_000_000).splitlines() if '"event": "request"' in line)
    return Counter(f"{line['operation']} {line['code']}" for line in lines)


@dataclass
class Seen:
    """The outcomes of the traffic so far."""

    codes: Counter[str] = field(default_factory=Counter)
    ended: set[str] = field(default_factory=set)
    """The sessions that it has logged out."""


@contextlib.asynccontextmanager
async def traffic(fleet: Fleet, login: str) -> AsyncIterator[Seen]:
    """Log a user in, verify and log out, through one caller after another, until the block ends.

    A token that was logged out must never be accepted.
    """
    seen = Seen()
    stopped = asyncio.Event()

    async def pass_repeatedly() -> None:
        for turn in count():
            async with fleet.passing:
                await _pass(fleet.rotation[turn % len(fleet.rotation)], login, seen)
            if stopped.is_set():
                return
            await asyncio.sleep(0.02)

    passing = asyncio.create_task(pass_repeatedly())
    try:
        yield seen
    finally:
        stopped.set()
        await passing


async def _pass(asker: Asker, login: str, seen: Seen) -> None:
    login_answer = await asker.ask("login", login)
    verified = await asker.ask("verify", login_answer.value) if login_answer.ok else login_answer
    logout_answer = await asker.ask("logout", login_answer.value) if verified.ok else verified
    seen.codes[logout_answer.code] += 1
    if logout_answer.ok:
        seen.ended.add(verified.value)
        after = await asker.ask("verify", login_answer.value)
        assert after.code in {"invalid_token", *CLOSED}, (
            f"{asker.name}: a token after its logout is answered {after.code}"
        )
