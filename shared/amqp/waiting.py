"""Calls that wait for their replies, and what ends the wait when no reply can come.

The loss of the channel ends it, and so does an alarm: a broker that is short of memory or disk stops reading from
connections that publish, so requests are neither taken nor refused.
"""

import asyncio
import logging
from typing import NamedTuple

from aio_pika.abc import AbstractIncomingMessage
from aiormq.abc import AbstractChannel, AbstractConnection

log = logging.getLogger(__name__)

#: Between two looks whether the broker is in an alarm. Most calls are answered before the first.
LOOK_SECONDS = 0.04

Answer = asyncio.Future[AbstractIncomingMessage | None]
"""The reply; or None when the call is given up: nobody knows whether it was done."""


class _Call(NamedTuple):
    answer: Answer
    deadline: asyncio.Timeout


class WaitingCalls:
    """The calls in flight on one channel, and on the next one after that is lost."""

    def __init__(self) -> None:
        self.blocked = False
        """Whether the broker is in an alarm and takes nothing from this connection."""
        self._channel: AbstractChannel | None = None
        self._calls: dict[str, _Call] = {}
        self._next_look: asyncio.TimerHandle | None = None

    def begin(self, channel: AbstractChannel) -> None:
        """From now on, requests leave by this channel."""
        self._channel = channel

    def add(self, call_id: str, deadline: asyncio.Timeout) -> Answer:
        """A reply to wait for, until `remove`. When it is given up, the deadline comes at once."""
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        self._calls[call_id] = _Call(answer, deadline)
        if self._next_look is None:
            self._next_look = loop.call_later(LOOK_SECONDS, self._look)
        return answer

    def remove(self, call_id: str) -> None:
        """Its caller waits no longer."""
        self._calls.pop(call_id, None)

    def answer(self, call_id: str, reply: AbstractIncomingMessage) -> None:
        """Hands a reply to its caller; does nothing if that one waits no longer."""
        call = self._calls.get(call_id)
        if call is not None and not call.answer.done():
            call.answer.set_result(reply)

    def given_up(self, call_id: str) -> bool:
        """Whether there will be no reply, as far as one can tell."""
        answer = self._calls[call_id].answer
        return answer.done() and not answer.cancelled() and answer.result() is None

    def end(self) -> None:
        """The channel is lost, and with it every reply that was to come."""
        self._channel = None
        self.blocked = False
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        self._give_up()

    def _look(self) -> None:
        self._next_look = None
        if self._channel is None:
            return
        was_blocked, self.blocked = self.blocked, is_blocked(self._channel.connection)
        if self.blocked != was_blocked:
            log.warning("broker takes no requests: an alarm" if self.blocked else "broker takes requests again")
        if self.blocked:
            self._give_up()
        if self.blocked or self._calls:
            self._next_look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _give_up(self) -> None:
        for call in self._calls.values():
            if not call.answer.done():
                call.answer.set_result(None)
                # It may not have come as far as waiting for its answer: a blocked broker does not take the request.
                call.deadline.reschedule(asyncio.get_running_loop().time())


def is_blocked(connection: AbstractConnection) -> bool:
    """Whether the broker is in an alarm and takes nothing from this connection.

    aiormq tells it only to who waits for the end of it: a wait that is over at once was not necessary."""
    waiting = connection.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    waiting.close()
    return True
