"""Traces through the whole service, on a real broker and a real database, exported to memory."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import api.settings
import worker.settings
from api.main import create_app
from api.tracing import EdgeTracing
from shared.client.auth_client import AuthClient
from shared.contracts.operation import Lane
from tests.backends import with_indexes
from worker.main import serve
from worker.tracing import WorkerTracing

PASSWORD = "correct horse battery staple"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Traced:
    """An edge and a worker in this process, and their ended spans."""

    http: httpx.AsyncClient
    exporter: InMemorySpanExporter
    amqp_url: str

    def spans(self, name: str) -> Sequence[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    async def span(self, name: str) -> ReadableSpan:
        """Return the only span of this name. A span may end shortly after the response."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not self.spans(name):  # noqa: ASYNC110 - ended spans are not signalled
                await asyncio.sleep(0.01)
        (span,) = self.spans(name)
        return span


@pytest_asyncio.fixture
async def traced(amqp_url: str, mongo_url: str) -> AsyncIterator[Traced]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    key = base64.b64encode(bytes(32)).decode()
    of_worker = worker.settings.Settings(
        amqp_url=amqp_url,
        mongo_url=await with_indexes(mongo_url),
        lanes=",".join(Lane),
        master_keys=f"test:{key}",
        registration_networks="127.0.0.1",
    )
    stop = asyncio.Event()
    app = create_app(api.settings.Settings(amqp_url=amqp_url), tracing=EdgeTracing(provider))
    async with contextlib.AsyncExitStack() as stack:
        serving = asyncio.create_task(serve(of_worker, stop, tracing=WorkerTracing(provider)))
        stack.push_async_callback(asyncio.wait_for, serving, TIMEOUT_SECONDS)
        stack.callback(stop.set)
        state = await stack.enter_async_context(app.router.lifespan_context(app))
        assert state is not None
        transport = httpx.ASGITransport(lambda scope, *rest: app({**scope, "state": dict(state)}, *rest))
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://edge"))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not (await http.get("/health/ready")).is_success:  # noqa: ASYNC110 - as balancers do
                await asyncio.sleep(0.05)
        yield Traced(http, exporter, amqp_url)


@pytest_asyncio.fixture
async def token(traced: Traced) -> str:
    """A user's token. The tenant's token is in the client's headers, and earlier spans are cleared."""
    credentials = {"email": "shop@secret.test", "password": PASSWORD}
    registered = (await traced.http.post("/tenant", json=credentials)).json()
    traced.http.headers["Authorization"] = f"Bearer {registered['token']}"
    user = {"login": "secret-ann", "password": PASSWORD}
    assert (await traced.http.post("/user", json={**user, "email": "ann@secret.test"})).is_success
    token: str = (await traced.http.post("/auth", json={**user, "deviceId": "phone"})).json()["accessToken"]
    traced.exporter.clear()
    return token


def context(span: ReadableSpan) -> tuple[str, str]:
    """Return the trace id and the span id as headers write them."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def parent(span: ReadableSpan) -> str | None:
    return f"{span.parent.span_id:016x}" if span.parent else None


async def test_request_is_one_trace_from_http_to_the_database(traced: Traced, token: str) -> None:
    answer = await traced.http.post("/auth/logout", json={"token": token}, headers={"traceparent": TRACEPARENT})
    assert answer.is_success
    served = await traced.span("POST /auth/logout")
    sent = await traced.span("send rpc:auth.logout")
    processed = await traced.span("process rpc:auth.logout")
    updated = next(each for each in traced.spans("update sessions") if parent(each) == context(processed)[1])
    chain = [served, sent, processed, updated]
    assert {context(span)[0] for span in chain} == {TRACE}
    assert [parent(span) for span in chain] == [PARENT, *(context(span)[1] for span in chain[:-1])]
    assert [span.kind for span in chain] == [SpanKind.SERVER, SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CLIENT]

    assert dict(served.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/auth/logout",
        "http.response.status_code": 200,
    }
    assert (sent.attributes or {})["messaging.system"] == "rabbitmq"
    assert (processed.attributes or {})["messaging.destination.name"] == "rpc:auth.logout"
    assert (processed.attributes or {})["jincor_auth.code"] == "ok"
    queried = dict(updated.attributes or {})
    assert {"db.system.name", "db.namespace", "server.address", "server.port"} <= queried.keys()
    assert (queried["db.operation.name"], queried["db.collection.name"]) == ("update", "sessions")


async def test_single_verification_belongs_to_its_callers_trace(traced: Traced, token: str) -> None:
    await traced.http.post("/auth/verify", json={"token": token}, headers={"traceparent": TRACEPARENT})
    served, sent = await traced.span("POST /auth/verify"), await traced.span("send rpc:auth.verify")
    processed, found = await traced.span("process rpc:auth.verify"), await traced.span("find sessions")
    assert [parent(span) for span in (served, sent, processed, found)] == [
        PARENT,
        *(context(span)[1] for span in (served, sent, processed)),
    ]
    assert {context(span)[0] for span in (served, sent, processed, found)} == {TRACE}


async def test_verification_batch_is_linked_from_all_its_callers_traces(traced: Traced, token: str) -> None:
    """A batch of several belongs to no caller's trace."""
    traces = [f"{number:032x}" for number in range(1, 41)]
    await asyncio.gather(
        *(
            traced.http.post("/auth/verify", json={"token": token}, headers={"traceparent": f"00-{each}-{PARENT}-01"})
            for each in traces
        )
    )
    served = {context(span) for span in traced.spans("POST /auth/verify")}
    batches = traced.spans("send rpc:auth.verify")
    linked = [
        (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for each in batches for link in each.links
    ]
    assert {trace for trace, _ in served} == set(traces)
    assert sorted(linked) == sorted(served)
    several = [batch for batch in batches if len(batch.links) > 1]
    assert several, "no batch of several"
    for batch in several:
        assert (batch.attributes or {})["jincor_auth.checks"] == len(batch.links)
        assert batch.parent is None
        assert context(batch)[0] not in traces
    processed = traced.spans("process rpc:auth.verify")
    assert {parent(span) for span in processed} == {context(batch)[1] for batch in batches}


@pytest.mark.usefixtures("token")
async def test_refused_request_has_its_status_and_code_on_the_spans(traced: Traced) -> None:
    """A wrong password is not a fault."""
    wrong = {"login": "secret-ann", "password": "wrong-password", "deviceId": "phone"}
    assert (await traced.http.post("/auth", json=wrong)).status_code == 403
    served, sent = await traced.span("POST /auth"), await traced.span("send rpc:auth.login")
    processed = await traced.span("process rpc:auth.login")
    assert (served.attributes or {})["http.response.status_code"] == 403
    assert [(span.attributes or {})["error.type"] for span in (sent, processed)] == ["invalid_credentials"] * 2
    assert {span.status.status_code for span in (served, sent, processed)} == {StatusCode.UNSET}


async def test_spans_contain_no_secret_and_no_name(traced: Traced, token: str) -> None:
    tenant_token = traced.http.headers["Authorization"].removeprefix("Bearer ")
    for method, path, body in (
        ("POST", "/auth/verify", {"token": token}),
        ("POST", "/user", {"login": "secret-ann", "password": PASSWORD, "email": "ann@secret.test"}),
        ("PATCH", "/user/secret-ann", {"password": "another " + PASSWORD}),
        ("DELETE", "/user/secret-ann?secret-query=1", None),
        ("GET", "/secret-path", None),
        ("SECRET-METHOD", "/user", None),
    ):
        await traced.http.request(method, path, json=body)
    await traced.span("process rpc:user.delete")
    exported = "\n".join(span.to_json() for span in traced.exporter.get_finished_spans())
    assert "DELETE /user/{login}" in exported
    for secret in (token, tenant_token, PASSWORD, "secret"):
        assert secret not in exported
        assert secret.upper() not in exported


async def test_trace_of_a_service_continues_at_the_workers(traced: Traced, token: str) -> None:
    """A batch of several continues no trace."""
    calls = 0

    def trace_headers() -> dict[str, str]:
        nonlocal calls
        calls += 1
        return {"traceparent": f"00-{TRACE}-{calls:016x}-01"}

    tenant_token = traced.http.headers["Authorization"].removeprefix("Bearer ")
    async with AuthClient.connect(traced.amqp_url, tenant_token=tenant_token, trace_headers=trace_headers) as auth:
        await auth.introspect(token)
        await auth.verify(token)
        single = await traced.span("process rpc:auth.verify")
        await asyncio.gather(*(auth.verify(token) for _ in range(10)))
    introspected = await traced.span("process rpc:token.introspect")
    assert {context(span)[0] for span in (introspected, single)} == {TRACE}
    assert parent(introspected) is not None
    together = [span for span in traced.spans("process rpc:auth.verify") if span is not single]
    assert together
    assert all(span.parent is None for span in together)
