"""An edge and a client of this version with a worker of a future version."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import httpx
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractIncomingMessage

from api.examples import EXAMPLES, REVOCATION
from dev.ports import free_port
from dev.processes import ChildProcess
from dev.services import api_service
from shared.amqp.topology import EVENTS_EXCHANGE, RPC_EXCHANGE, declare_exchanges
from shared.client.auth_client import AuthClient
from shared.contracts import OPERATIONS
from shared.contracts.errors import AuthError, InvalidToken, ServiceCredentialsRejected, Temporary
from shared.contracts.events import SESSION_REVOKED, revocations_key
from shared.contracts.health import HEALTH
from tests.backends import Backend
from tests.mixed.fleet import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSAL = {"code": "second_factor_required", "message": "a second factor is required", "details": {"factor": "totp"}}
EXPIRED = {"code": "invalid_tenant_token", "message": "tenant token is expired"}
PAUSE = {"code": "moving_house", "message": "this tenant is being moved", "retryAfterSeconds": 7}
AUTHORIZED = {"Authorization": "Bearer tenant-token"}
LOGIN = {"login": "ada", "password": "p", "deviceId": "laptop"}
HEALTHY = {operation.name: [{"database": True}] for operation in HEALTH.values()}
CREDENTIALS: dict[str, Any] = {"email": "shop@example.com", "password": "correct horse battery"}
TENANT_CLAIMS = EXAMPLES["tenant.verify"].reply["decoded"]


@dataclass
class NewerWorker:
    """Answers each operation with its example unless a test sets another answer. Errors have a `code`."""

    amqp_url: str
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The answers by operation, in order; the last one repeats."""
    all_said: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when `event.list` has reached its last answer."""

    def answer(self, operation: str, body: bytes) -> dict[str, Any]:
        if operation == "auth.verify" and operation not in self.answers:
            return {"answers": [self._verdict(check["token"]) for check in json.loads(body)["checks"]]}
        answers = self.answers.get(operation, [EXAMPLES[operation].reply] if operation in EXAMPLES else [])
        if len(answers) > 1:
            return answers.pop(0)
        if operation == "event.list":
            self.all_said.set()
        return answers[0]

    def _verdict(self, token: str) -> dict[str, Any]:
        """Return the verdict that the token names."""
        claims = EXAMPLES["auth.verify"].reply["decoded"]
        verdicts: Mapping[str, dict[str, Any]] = {
            "refused": {"error": REFUSAL},
            "paused": {"error": PAUSE},
            "unreadable": {"verdict": "maybe"},
        }
        return verdicts.get(token, {"claims": {**claims, "jti": token, "amr": ["pwd"]}, "confidence": 0.9})

    async def announce(self, session: str, **members: Any) -> None:
        """Publish a revocation as a newer version writes it."""
        revocation: dict[str, Any] = dict(REVOCATION)
        data = {**revocation["data"], "sessionId": session, **members}
        event = {
            **revocation,
            "id": f"session.revoked:{session}",
            "subject": session,
            "data": data,
            "shade": "blue",
        }
        async with await aio_pika.connect(self.amqp_url) as connection, connection.channel() as channel:
            exchange = await channel.get_exchange(EVENTS_EXCHANGE, ensure=False)
            message = aio_pika.Message(json.dumps(event).encode(), type=SESSION_REVOKED)
            await exchange.publish(message, revocations_key(TENANT_CLAIMS["tenant"]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_worker(backend: Backend) -> AsyncIterator[NewerWorker]:
    amqp_url = await backend.vhost()
    newer = NewerWorker(amqp_url, dict(HEALTHY))

    async def reply(message: AbstractIncomingMessage) -> None:
        answer = newer.answer(message.routing_key or "", message.body)
        await channel.default_exchange.publish(
            aio_pika.Message(
                json.dumps({**answer, "servedBy": "tomorrow"}).encode(),
                type="error" if "code" in answer else "reply",
                content_type="application/json",
                correlation_id=message.correlation_id,
            ),
            message.reply_to or "",
            mandatory=False,
        )

    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        await declare_exchanges(channel)
        queue = await channel.declare_queue(exclusive=True)
        for operation in OPERATIONS:
            await queue.bind(RPC_EXCHANGE, operation)
        # Older callers probe for workers here (docs/decisions/0015).
        probes = await channel.declare_exchange("probes", "topic", durable=True)
        await (await channel.declare_queue(exclusive=True)).bind(probes, "present.*")
        await queue.consume(reply, no_ack=True)
        yield newer


@pytest.fixture
def worker(running_worker: NewerWorker) -> NewerWorker:
    """The worker with its default answers."""
    running_worker.answers = dict(HEALTHY)
    running_worker.all_said.clear()
    return running_worker


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(
    running_worker: NewerWorker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """An edge of this version as a process."""
    port = free_port()
    process = ChildProcess(api_service(port, amqp_url=running_worker.amqp_url), tmp_path_factory.mktemp("edge"))
    process.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=AUTHORIZED) as http:

        async def ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await http.get("/health/ready")).is_success
            return False

        await process.wait_until(ready, PATIENCE_SECONDS)
        yield http
    assert await process.terminate() == 0


@pytest_asyncio.fixture(loop_scope="module")
async def auth(worker: NewerWorker) -> AsyncIterator[AuthClient]:
    async with AuthClient.connect(worker.amqp_url, **CREDENTIALS) as client:
        yield client


async def test_edge_passes_on_unknown_error_codes_with_their_class(
    edge: httpx.AsyncClient, worker: NewerWorker
) -> None:
    """An unknown refusal is answered 403, and an unknown temporary error 503."""
    worker.answers["auth.login"] = [REFUSAL]
    refused = await edge.post("/auth", json=LOGIN)
    assert (refused.status_code, refused.json()["code"]) == (403, REFUSAL["code"])
    assert (refused.json()["error"], refused.json()["details"]) == (REFUSAL["message"], REFUSAL["details"])
    worker.answers["auth.login"] = [PAUSE]
    paused = await edge.post("/auth", json=LOGIN)
    assert (paused.status_code, paused.json()["code"], paused.headers["Retry-After"]) == (503, PAUSE["code"], "7")


@pytest.mark.usefixtures("worker")
async def test_edge_accepts_no_token_with_an_unknown_verdict(edge: httpx.AsyncClient) -> None:
    """Each check of a batch gets its own answer."""
    tokens = ("fine", "refused", "paused", "unreadable")
    for _ in range(3):
        answers = await asyncio.gather(*(edge.post("/auth/verify", json={"token": token}) for token in tokens))
        assert {
            token: (answer.status_code, answer.json().get("code"))
            for token, answer in zip(tokens, answers, strict=True)
        } == {
            "fine": (200, None),
            "refused": (400, "invalid_token"),
            "paused": (503, PAUSE["code"]),
            "unreadable": (400, "invalid_token"),
        }
    introspected = await edge.post("/introspect", data={"token": "refused"})
    assert (introspected.status_code, introspected.json()) == (200, {"active": False})


async def test_client_raises_an_unknown_error_under_its_code(auth: AuthClient, worker: NewerWorker) -> None:
    worker.answers["auth.login"] = [REFUSAL]
    with pytest.raises(AuthError, match="a second factor") as refused:
        await auth.login("ada", "p", device_id="laptop")
    assert (type(refused.value), refused.value.code) == (AuthError, REFUSAL["code"])
    assert refused.value.details == REFUSAL["details"]
    worker.answers["auth.login"] = [PAUSE]
    with pytest.raises(Temporary) as paused:
        await auth.login("ada", "p", device_id="laptop")
    assert (paused.value.code, paused.value.retry_after_seconds) == (PAUSE["code"], 7)


async def test_client_accepts_no_token_with_an_unknown_verdict(auth: AuthClient, worker: NewerWorker) -> None:
    """This holds for verification by a worker, from the cache, and for an unknown token type."""
    async with auth.verifier(max_age_seconds=3600) as cached:
        assert await cached.wait_trusted(PATIENCE_SECONDS)
        for verify in (auth.verify, cached.verify):
            assert (await verify("fine")).jti == "fine"
            with pytest.raises(InvalidToken, match="a second factor"):
                await verify("refused")
            with pytest.raises(Temporary):
                await verify("paused")
        worker.answers["auth.verify"] = [PAUSE]  # for the whole batch
        with pytest.raises(Temporary):
            await cached.verify("other")
    worker.answers["token.introspect"] = [{"active": True, "token_type": "DPoP", "sub": "ada", "scope": "admin"}]
    introspected = await auth.introspect("bound")
    assert (introspected.active, introspected.scope) == (False, None)


async def test_subscription_continues_after_unknown_errors_and_reasons(auth: AuthClient, worker: NewerWorker) -> None:
    """Catching up waits for a temporary error to end, and an unknown reason still revokes the session."""
    pause = {**PAUSE, "retryAfterSeconds": 1}
    worker.answers["event.list"] = [pause, {"events": [], "nextCursor": "0", "asOf": 1, "gaps": []}]
    worker.answers["tenant.verify"] = [pause, {"decoded": TENANT_CLAIMS}]
    async with (
        auth.verifier(max_age_seconds=3600) as cached,
        contextlib.aclosing(auth.revocations()) as events,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        assert await cached.wait_trusted(PATIENCE_SECONDS)
        ended = asyncio.create_task(anext(events))
        assert (await cached.verify("fine")).jti == "fine"
        await worker.all_said.wait()  # the client has subscribed and waited
        await worker.announce("fine", reason="moved_to_mars", planet="mars")
        assert ((await ended).data.session_id, ended.result().data.reason) == ("fine", "moved_to_mars")
        while True:  # this feed may be slightly behind the other
            hits = cached.counts.hits
            await cached.verify("fine")  # this worker still accepts it
            if cached.counts.hits == hits:
                break


async def test_tenant_login_refused_for_a_new_reason_fails_the_start(worker: NewerWorker) -> None:
    worker.answers["tenant.login"] = [REFUSAL]
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(ServiceCredentialsRejected) as refused:
            async with AuthClient.connect(worker.amqp_url, **CREDENTIALS):
                pass
    assert refused.value.code == REFUSAL["code"]


async def test_tenant_login_refused_for_a_new_reason_after_the_start_fails_every_call(worker: NewerWorker) -> None:
    """The client says so at once, and does not try for ever."""
    async with AuthClient.connect(worker.amqp_url, **CREDENTIALS) as auth, asyncio.timeout(PATIENCE_SECONDS):
        worker.answers["tenant.login"] = [REFUSAL]
        worker.answers["user.list"] = worker.answers["auth.verify"] = [EXPIRED]
        for call in (auth.users.list(), auth.verify("fine"), auth.users.list()):
            with pytest.raises(ServiceCredentialsRejected) as refused:
                await call
            assert refused.value.code == REFUSAL["code"]
