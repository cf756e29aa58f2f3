"""Calls to workers for the HTTP request in progress."""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.amqp.rpc_port import RpcConnection
from shared.contracts.operation import Operation, ReplyT, RequestT
from shared.process.logging import request_id

if TYPE_CHECKING:  # installed only with tracing
    from api.tracing import EdgeTracing


@dataclass(frozen=True, slots=True)
class WorkerCalls:
    """Calls to workers, which carry the id of the current HTTP request."""

    rpc: RpcConnection
    timeout_seconds: float
    tracing: "EdgeTracing | None" = None

    async def call(
        self, operation: Operation[RequestT, ReplyT], request: RequestT, *, timeout_seconds: float | None = None
    ) -> ReplyT:
        """Return the reply of a worker. Raises what `RpcClient.call` raises."""
        with self.tracing.sending(operation.name) if self.tracing else contextlib.nullcontext():
            return await self.rpc.call(
                operation,
                request,
                request_id=request_id.get(),
                timeout_seconds=timeout_seconds or self.timeout_seconds,
            )
