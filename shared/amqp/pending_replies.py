"""Calls in flight that wait for their replies, and the detection of broker alarms.

Calls stop waiting if the channel is lost or the broker raises an alarm. A broker that is short of
memory or disk stops reading from connections that publish, so it neither accepts nor refuses
requests.
"""

import asyncio
import logging
from typing import NamedTuple

from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

log = logging.getLogger(__name__)

#: Time between two checks for a broker alarm. Most calls get their reply before the first check.
ALARM_CHECK_SECONDS = 0.04

Answer = asyncio.Future[DeliveredMessage | None]
"""The reply; or None if the call was abandoned: the operation may have been done."""


class _PendingReply(NamedTuple):
    answer: Answer
    deadline: asyncio.Timeout


class PendingReplies:
    """The calls in flight on the current channel of a connection."""

    def __init__(self) -> None:
        self.blocked = False
        """Whether the broker is in an alarm and accepts nothing from this connection."""
        self._channel: AbstractChannel | None = None
        self._pending: dict[str, _PendingReply] = {}
        self._next_alarm_check: asyncio.TimerHandle | None = None

    def begin(self, channel: AbstractChannel) -> None:
        """Use this channel for requests from now on."""
        self._channel = channel

    def add(self, call_id: str, deadline: asyncio.Timeout) -> Answer:
        """Add a call and return the future of its reply, until `remove`.

        When the call is abandoned, `deadline` expires at once.
        """
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        self._pending[call_id] = _PendingReply(answer, deadline)
        if self._next_alarm_check is None:
            self._next_alarm_check = loop.call_later(ALARM_CHECK_SECONDS, self._check_alarm)
        return answer

    def remove(self, call_id: str) -> None:
        """Remove a call that no longer waits."""
        self._pending.pop(call_id, None)

    def answer(self, call_id: str, reply: DeliveredMessage) -> None:
        """Pass a reply to its call; ignore it if the call no longer waits."""
        call = self._pending.get(call_id)
        if call is not None and not call.answer.done():
            call.answer.set_result(reply)

    def is_abandoned(self, call_id: str) -> bool:
        """Return whether the call was abandoned because no reply is expected."""
        answer = self._pending[call_id].answer
        return answer.done() and not answer.cancelled() and answer.result() is None

    def end(self) -> None:
        """Abandon all calls, because the channel and all its replies are lost."""
        self._channel = None
        self.blocked = False
        if self._next_alarm_check is not None:
            self._next_alarm_check.cancel()
            self._next_alarm_check = None
        self._abandon_all()

    def _check_alarm(self) -> None:
        self._next_alarm_check = None
        if self._channel is None:
            return
        was_blocked, self.blocked = self.blocked, is_blocked(self._channel.connection)
        if self.blocked != was_blocked:
            log.warning("broker takes no requests: an alarm" if self.blocked else "broker takes requests again")
        if self.blocked:
            self._abandon_all()
        if self.blocked or self._pending:
            self._next_alarm_check = asyncio.get_running_loop().call_later(ALARM_CHECK_SECONDS, self._check_alarm)

    def _abandon_all(self) -> None:
        for call in self._pending.values():
            if not call.answer.done():
                call.answer.set_result(None)
                # The call may still be publishing: a blocked broker does not accept the request.
                call.deadline.reschedule(asyncio.get_running_loop().time())


def is_blocked(connection: AbstractConnection) -> bool:
    """Return whether the broker has blocked the connection.

    aiormq only offers a coroutine that waits until the connection is not blocked. If its first step
    finishes, the connection is not blocked.
    """
    waiting = connection.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    waiting.close()
    return True
