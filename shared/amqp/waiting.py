"""Calls that wait for their replies, and a watch over them: who waits for nobody hears so at once.

A request without a worker is returned, and one too many is refused; but of two things nobody tells a caller who waits
already. The last worker of a lane may die, with the requests that it held. And a broker that is short of memory or disk
stops reading from whoever publishes. So as long as calls wait, this looks again and again whether that is in vain.
"""

import asyncio
import functools
import logging
import time
from typing import NamedTuple

from aio_pika import DeliveryMode
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from ..contracts.operation import Lane
from .connection import ConnectionLost, lost_connections
from .topology import PROBES_EXCHANGE, presence_key

log = logging.getLogger(__name__)

#: Between two looks. Most calls are answered before the first; and it takes two to give a call up, within 100 ms.
LOOK_SECONDS = 0.04
#: A question to a lane's workers: all of its meaning is in its routing key.
PRESENT_TYPE = "present"
QUESTION = Basic.Properties(message_type=PRESENT_TYPE, delivery_mode=DeliveryMode.NOT_PERSISTENT)

Answer = asyncio.Future[AbstractIncomingMessage | None]
"""The reply; or None when it is given up: whether it was done nobody knows."""


class _Call(NamedTuple):
    answer: Answer
    deadline: asyncio.Timeout
    lane: Lane
    since: float


class WaitingCalls:
    """The calls under way on one channel, and on the next one after that is lost."""

    def __init__(self) -> None:
        self.blocked = False
        """Whether the broker is in an alarm and takes nothing from this connection."""
        self._channel: AbstractChannel | None = None
        self._calls: dict[str, _Call] = {}
        self._next_look: asyncio.TimerHandle | None = None
        self._questions: dict[Lane, asyncio.Task[None]] = {}
        self._absent_since: dict[Lane, float] = {}

    def begin(self, channel: AbstractChannel) -> None:
        """From now on, requests leave by this channel."""
        self._channel = channel

    def add(self, call_id: str, lane: Lane, deadline: asyncio.Timeout) -> Answer:
        """A reply to wait for, until `remove`. When it is given up, the deadline comes at once."""
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        self._calls[call_id] = _Call(answer, deadline, lane, time.monotonic())
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
        for question in self._questions.values():
            question.cancel()
        self._give_up(sent_before=float("inf"))

    def _look(self) -> None:
        self._next_look = None
        channel = self._channel
        if channel is None:
            return
        was_blocked, self.blocked = self.blocked, _is_blocked(channel)
        if self.blocked != was_blocked:
            log.warning("broker takes no requests: an alarm" if self.blocked else "broker takes requests again")
        if self.blocked and was_blocked:
            self._give_up(sent_before=float("inf"))
        elif not self.blocked:
            for lane in self._waited_for() - self._questions.keys():
                question = self._questions[lane] = asyncio.create_task(self._ask(channel, lane))
                question.add_done_callback(functools.partial(self._answered, lane))
        if self.blocked or self._calls:
            self._next_look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _answered(self, lane: Lane, _: asyncio.Task[None]) -> None:
        del self._questions[lane]

    def _waited_for(self) -> set[Lane]:
        """The lanes of calls that have been waiting since the last look."""
        last_look = time.monotonic() - LOOK_SECONDS
        lanes: set[Lane] = set()
        for call in self._calls.values():  # the oldest first
            if call.since > last_look or len(lanes) == len(Lane):
                break
            lanes.add(call.lane)
        return lanes

    async def _ask(self, channel: AbstractChannel, lane: Lane) -> None:
        """Gives up the lane's calls if no worker is there, and none was there the last time."""
        asked = time.monotonic()
        try:
            with lost_connections():
                await channel.basic_publish(
                    b"",
                    exchange=PROBES_EXCHANGE,
                    routing_key=presence_key(lane),
                    properties=QUESTION,
                    mandatory=True,
                )
        except PublishError:  # returned; once is not enough, the last reply of a worker may be on its way
            self._give_up(sent_before=self._absent_since.get(lane, float("-inf")), lane=lane)
            self._absent_since[lane] = asked
        except (DeliveryError, ConnectionLost):
            pass  # that says nothing about workers
        else:
            self._absent_since.pop(lane, None)

    def _give_up(self, *, sent_before: float, lane: Lane | None = None) -> None:
        for call in self._calls.values():
            if call.since < sent_before and lane in {None, call.lane} and not call.answer.done():
                call.answer.set_result(None)
                # It may not have come as far as waiting for its answer: a blocked broker does not take the request.
                call.deadline.reschedule(asyncio.get_running_loop().time())


def _is_blocked(channel: AbstractChannel) -> bool:
    """aiormq tells it only to who waits for the end of it: a wait that is over at once was not necessary."""
    waiting = channel.connection.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    waiting.close()
    return True
