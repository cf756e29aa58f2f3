"""A fake of the workers that answers from a table and records the requests."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Self

from api.examples import EXAMPLES
from shared.amqp.rpc_client import DEFAULT_TIMEOUT_SECONDS, ReplyT, RequestT, RpcClient
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.health import HEALTH
from shared.contracts.operation import Operation


@dataclass(frozen=True, slots=True)
class Call:
    """A recorded request."""

    operation: str
    request: dict[str, Any]
    request_id: str | None
    timeout_seconds: float


class FakeRpc(RpcClient):
    """Sends requests and replies through JSON, as on the wire. Exceptions in `answers` are raised."""

    def __init__(self) -> None:
        super().__init__([], "fake")
        self.calls: list[Call] = []
        self.answers: dict[str, dict[str, Any] | Exception] = {
            name: example.reply for name, example in EXAMPLES.items()
        }
        self.answers[AUTH_VERIFY.name] = {"answers": [{"claims": EXAMPLES[AUTH_VERIFY.name].reply["decoded"]}]}
        self.answers |= {operation.name: {"database": True} for operation in HEALTH.values()}
        self._connected = asyncio.Event()
        self._connected.set()

    @property
    def connected(self) -> asyncio.Event:
        return self._connected

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def call(
        self,
        operation: Operation[RequestT, ReplyT],
        request: RequestT,
        *,
        request_id: str | None = None,
        message_id: str | None = None,  # noqa: ARG002 - the overridden signature
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> ReplyT:
        self.calls.append(Call(operation.name, json.loads(request.to_json()), request_id, timeout_seconds))
        answer = self.answers[operation.name]
        if isinstance(answer, Exception):
            raise answer
        return operation.reply.model_validate_json(json.dumps(answer))
