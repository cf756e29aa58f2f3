"""Retries of calls after temporary errors, if they are safe."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..amqp.jitter import jittered
from ..amqp.rpc_port import Rpc
from ..contracts.errors import DeadlineExceeded, Overloaded, Temporary, Unavailable
from ..contracts.operation import Operation, ReplyT, RequestT

#: Backoff between attempts of a call, with jitter: together less than a second.
RETRY_WAITS_SECONDS = (0.05, 0.2, 0.5)

ResultT = TypeVar("ResultT")


class RetryingRpcClient:
    """An RPC client that retries for a moment without a broker or a worker, if the operation is
    repeatable."""

    def __init__(self, rpc: Rpc, timeout_seconds: float) -> None:
        self._rpc = rpc
        self.timeout_seconds = timeout_seconds

    async def call(self, operation: Operation[RequestT, ReplyT], request: RequestT) -> ReplyT:
        """Send a request and return the reply. Raises an `AuthError`.

        All attempts share one deadline and one message id, the idempotency key.
        """
        message_id = uuid.uuid4().hex
        deadline = time.monotonic() + self.timeout_seconds

        async def attempt() -> ReplyT:
            left = max(deadline - time.monotonic(), 0.001)
            return await self._rpc.call(operation, request, message_id=message_id, timeout_seconds=left)

        return await with_retries(attempt, repeatable=operation.repeatable)


async def with_retries(
    attempt: Callable[[], Awaitable[ResultT]], *, repeatable: bool, timeout_seconds: float | None = None
) -> ResultT:
    """Run the attempt and return its result, with up to three retries after temporary errors.

    `Overloaded` is always retried, because nothing was done. `Unavailable` is retried only if
    `repeatable`, because the operation may have been done. Raises the last of them if all attempts
    together take longer than `timeout_seconds`, and `Unavailable` if a retry gets no answer.
    """
    last: Temporary = DeadlineExceeded()
    try:
        async with asyncio.timeout(timeout_seconds):
            for wait_seconds in RETRY_WAITS_SECONDS:
                try:
                    return await attempt()
                except Overloaded as error:
                    last = error
                except Unavailable as error:
                    if not repeatable:
                        raise
                    last = error
                await asyncio.sleep(jittered(wait_seconds))
            return await attempt()
    except TimeoutError:
        raise last from None
    except DeadlineExceeded:
        # Both leave open whether the operation was done, and the first answer names the cause. The
        # retry after `Overloaded` may have been done, although the first attempt was not.
        if isinstance(last, Unavailable):
            raise last from None
        raise
