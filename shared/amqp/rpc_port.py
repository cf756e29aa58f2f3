"""The port to the workers, which `rpc_client.RpcClient` implements."""

import asyncio
from typing import Protocol

from ..contracts.operation import Operation, ReplyT, RequestT

#: Default timeout of a call: longer than any operation takes without overload, short enough for a
#: person to wait.
DEFAULT_TIMEOUT_SECONDS = 5.0


class Rpc(Protocol):
    """Sends requests to workers and returns their replies."""

    async def call(
        self,
        operation: Operation[RequestT, ReplyT],
        request: RequestT,
        *,
        request_id: str | None = None,
        message_id: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> ReplyT:
        """Send a request and return its reply. See `RpcClient.call`."""


class RpcConnection(Rpc, Protocol):
    """`Rpc` over a connection that a process opens and watches; an async context manager."""

    @property
    def connected(self) -> asyncio.Event:
        """Event that is set while there is a connection to a broker."""

    @property
    def blocked(self) -> bool:
        """Whether the broker is in an alarm and accepts no requests."""

    async def wait_connected(self) -> bool:
        """Wait a limited time for a connection; return whether there is one."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *exc_info: object) -> None: ...
