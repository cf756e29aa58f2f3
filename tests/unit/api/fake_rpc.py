"""A fake of the workers that answers from a table and records the requests."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from api.examples import EXAMPLES
from shared.amqp.rpc_port import DEFAULT_TIMEOUT_SECONDS
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.health import HEALTH
from shared.contracts.operation import Operation, ReplyT, RequestT


@dataclass(frozen=True, slots=True)
class Call:
    """A recorded request."""

    operation: str
    request: dict[str, Any]
    request_id: str | None
    timeout_seconds: float


class FakeRpc:
    """Implements `RpcConnection`. Requests and replies pass through JSON, as they do on the wire.

    An exception in `answers` is raised.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, dict[str, Any] | Exception] = {
            name: example.reply for name, example in EXAMPLES.items()
        }
        self.answers[AUTH_VERIFY.name] = {"answers": [{"claims": EXAMPLES[AUTH_VERIFY.name].reply["decoded"]}]}
        self.answers |= {operation.name: {"database": True} for operation in HEALTH.values()}
        self.blocked = False
        self.connected = asyncio.Event()
        self.connected.set()

    async def wait_connected(self) -> bool:
        return self.connected.is_set()

    async def __aenter__(self) -> object:
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
