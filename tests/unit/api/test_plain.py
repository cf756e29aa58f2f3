"""The plain path of a verification: an edge with it and an edge without it answer every form of a request alike."""

import asyncio
import contextlib
import itertools
import logging
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from api.limits.http import LimitedHttp, limited_http
from api.main import create_app
from api.metrics import EdgeMetrics
from api.plain import PlainVerifications
from api.settings import Settings
from api.tracing import EdgeTracing
from shared.amqp.rpc_port import DEFAULT_TIMEOUT_SECONDS
from shared.amqp.verification_batcher import VerificationBatcher
from shared.client.retries import RetryingRpcClient
from shared.client.tenant_session import TenantSession
from shared.contracts.auth_verify import AuthVerifyReply, AuthVerifyRequest, VerifyAnswer, VerifyCheck
from shared.contracts.errors import (
    AuthError,
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidToken,
    Overloaded,
    Unavailable,
)
from shared.contracts.operation import Operation, ReplyT, RequestT
from tests.unit.api.fake_feed import FakeFeed
from tests.unit.api.fake_rpc import FakeRpc
from tests.unit.api.raw_forms import FORWARD, Form, forms
from tests.unit.api.served import dialed, served

#: Time that a body may take. Some forms have no end.
BODY_SECONDS = 0.3
#: Turns of the event loop in which an edge does all that it does with a piece of a request.
TURNS = 50
#: Follows each form. The edge closes the connection after its response, or earlier because of the form.
LAST = b"GET /health/live HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n"
#: Values that differ between two equal responses: new ids, the time, and the rest of an hour.
RANDOM = re.compile(rb"\b[0-9a-f]{32}\b|(?<=\ndate: )[^\r]*|(?<=\nretry-after: 3)\d{3}")
ERRORS: dict[str, AuthError | Exception] = {
    "invalid": InvalidToken(),
    "forbidden": Forbidden(),
    "unknown": AuthError("refused by a newer worker"),
    "unavailable": Unavailable(),
    "overloaded": Overloaded(retry_after_seconds=2),
    "late": DeadlineExceeded(retry_after_seconds=5),
    "internal": InternalError(),
    "crash": RuntimeError("a fault of the edge"),
}
ERRORS["unknown"].code = "code_of_a_newer_worker"  # type: ignore[union-attr]
#: Fields of a log line that are the request's own.
LOGGED = ("name", "levelno", "msg", "method", "route", "status", "code", "sample")


class Workers(FakeRpc):
    """Fake workers that answer a check as its tokens say: with claims, or with the error of that name."""

    async def call(
        self,
        operation: Operation[RequestT, ReplyT],
        request: RequestT,
        *,
        request_id: str | None = None,
        message_id: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> ReplyT:
        reply = await super().call(
            operation, request, request_id=request_id, message_id=message_id, timeout_seconds=timeout_seconds
        )
        if not isinstance(request, AuthVerifyRequest) or not isinstance(reply, AuthVerifyReply):
            return reply
        await asyncio.sleep(0)  # as a real reply, this one arrives later
        answers = tuple(_answer(check, reply.answers[0]) for check in request.checks)
        return operation.reply.model_validate_json(AuthVerifyReply(answers=answers).to_json())


def _answer(check: VerifyCheck, live: VerifyAnswer) -> VerifyAnswer:
    error = ERRORS.get(check.tenant_token) or ERRORS.get(check.token)
    match error:
        case None:
            return live
        case Unavailable() | DeadlineExceeded() | RuntimeError():
            raise error
        case AuthError():
            return VerifyAnswer.failed(error)
    raise AssertionError(error)


class Edge:
    """A served edge, and everything of it that is compared."""

    def __init__(self, workers: Workers, metrics: EdgeMetrics, spans: InMemorySpanExporter) -> None:
        self.workers = workers
        self.metrics = metrics
        self.spans = spans
        self.port = 0
        self.received_bytes = 0

    def http(self, settings: Settings) -> type[LimitedHttp]:
        """Return an HTTP class that counts the bytes that the edge receives."""

        class CountingHttp(limited_http(settings.max_body_bytes, settings.body_seconds)):  # type: ignore[misc]
            def data_received(http, data: bytes) -> None:  # noqa: N805 - `self` is the edge
                self.received_bytes += len(data)
                super().data_received(data)

        return CountingHttp

    async def ask(self, form: Form) -> bytes:
        """Send the form and another request, and return all bytes that the edge sends."""
        async with dialed(self.port) as (reader, writer):
            *first, last = form.pieces()
            with contextlib.suppress(ConnectionError):
                for piece in first:
                    received = self.received_bytes + len(piece)
                    writer.write(piece)
                    while self.received_bytes < received and not reader.at_eof():  # noqa: ASYNC110 - bounded by `dialed`
                        await asyncio.sleep(0)
                    for _ in range(TURNS):
                        await asyncio.sleep(0)
                writer.write(last + LAST)
            response = b""
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65_536):
                    response += data
            return RANDOM.sub(b"...", response)

    def counted(self) -> list[tuple[str, dict[str, str], float]]:
        """Return the counts of requests by method, route and status."""
        return [
            (sample.name, sample.labels, sample.value)
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name in {"jincor_auth_edge_requests_total", "jincor_auth_edge_request_duration_seconds_count"}
        ]

    def traced(self) -> list[tuple[Any, ...]]:
        """Return the spans that ended since the last call."""
        spans = [
            (span.name, span.kind, span.status.status_code, dict(span.attributes or {}), len(span.links))
            for span in self.spans.get_finished_spans()
        ]
        self.spans.clear()
        return spans

    def asked(self) -> list[tuple[str, str]]:
        """Return the requests that workers got since the last call."""
        calls = [
            (call.operation, RANDOM.sub(b"...", repr(call.request).encode()).decode()) for call in self.workers.calls
        ]
        self.workers.calls.clear()
        return calls


@contextlib.asynccontextmanager
async def edge(
    *, plain_path: bool, default_headers: Sequence[tuple[str, str]] = (), **given: Any
) -> AsyncIterator[Edge]:
    values = {
        "forward_email": "shop@example.com",
        "forward_password": "p",
        "cors_origins": "https://shop.example",
        "log_verify_sample": 1.0,
    }
    settings = Settings(amqp_url="amqp://broker.invalid", body_seconds=BODY_SECONDS, **{**values, **given})
    workers, metrics, spans = Workers(), EdgeMetrics(), InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracing = EdgeTracing(provider)
    app = create_app(settings, workers, FakeFeed(), metrics=metrics, tracing=tracing, plain_path=plain_path)
    compared = Edge(workers, metrics, spans)
    async with (
        app.router.lifespan_context(app) as state,
        served(app, compared.http(settings), dict(state or {}), headers=list(default_headers)) as compared.port,
    ):
        yield compared


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the log lines since the last call."""
    lines = [
        {name: vars(record)[name] for name in LOGGED if name in vars(record)}
        for record in caplog.records
        if record.name.startswith("api")
    ]
    caplog.clear()
    return lines


@pytest.mark.parametrize(
    ("share", "default_headers", "given"),
    [
        pytest.param(1, (), {}, id="all forms"),
        pytest.param(8, (), {"log_verify_sample": 0.0, "cors_origins": ""}, id="no log lines of successes"),
        pytest.param(8, (), {"request_limit": 20, "request_limit_seconds": 3_600}, id="over the limit of requests"),
        pytest.param(8, (("connection", "close"),), {}, id="draining"),
        pytest.param(8, (), {"forward_email": None, "forward_password": None}, id="without the forward route"),
    ],
)
async def test_each_form_is_answered_alike_with_and_without_the_plain_path(
    caplog: pytest.LogCaptureFixture, share: int, default_headers: Sequence[tuple[str, str]], given: dict[str, Any]
) -> None:
    """Every byte of the response is compared, and what the worker, the log, the metrics and the trace got."""
    caplog.set_level(logging.INFO, "api")
    tried = list(itertools.islice(forms(mixed=300), 0, None, share))
    assert len(tried) >= 800 // share
    differences = []
    async with (
        edge(plain_path=True, default_headers=default_headers, **given) as plain,
        edge(plain_path=False, default_headers=default_headers, **given) as other,
    ):
        for form in tried:
            seen = []
            for each in (plain, other):
                caplog.clear()
                seen.append((await each.ask(form), each.asked(), each.traced(), logged(caplog)))
            differences += [(form, *pair) for pair in zip(*seen, strict=True) if pair[0] != pair[1]]
        assert not differences, "\n".join(f"{form}:\n  {got}\n  {expected}" for form, got, expected in differences)
        assert plain.counted() == other.counted()
        assert sum(value for _, _, value in plain.counted()) > len(tried)


async def _fastapi(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 599, "headers": []})


@pytest.mark.parametrize(
    ("form", "status"),
    [
        (Form(), 200),
        (Form(path=b"/auth/verify?x"), 200),
        (Form(body=b'{"token": "invalid"}'), 400),
        (Form(authorization=(b"Authorization: Bearer unavailable",)), 503),
        (Form(framing="chunked"), 200),
        (Form(framing="chunked", writes="late chunk"), 599),
        (Form(writes="body in two"), 599),
        (Form(body=b"{}"), 599),
        (Form(authorization=()), 599),
        (Form(content_type=(b"Content-Type: text/json",)), 599),
        (Form(path=b"/auth/verify/"), 599),
        (Form(method=b"PUT"), 599),
        (FORWARD, 200),
        (replace(FORWARD, authorization=(b"Authorization: Bearer invalid",)), 401),
        (replace(FORWARD, authorization=()), 599),
        (replace(FORWARD, method=b"POST"), 599),
        (replace(FORWARD, path=b"/auth/forward/page"), 599),
    ],
    ids=str,
)
async def test_only_the_regular_form_is_answered_without_fastapi(form: Form, status: int) -> None:
    """Otherwise the comparison above would compare FastAPI with itself."""
    workers = Workers()
    tenant = TenantSession(RetryingRpcClient(workers, 1), "shop@example.com", SecretStr("p"))
    state = {"verifier": VerificationBatcher(workers), "forward_tenant": tenant}
    async with (
        served(PlainVerifications(_fastapi, with_forward=True), state=state) as port,
        dialed(port) as (reader, writer),
    ):
        for piece in form.pieces():
            writer.write(piece)
            for _ in range(TURNS):
                await asyncio.sleep(0)
        assert int((await reader.readline()).split()[1]) == status
