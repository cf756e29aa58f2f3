"""Requests read from aiormq's own messages: aio-pika converts all properties and starts a task for each."""

from aiormq.abc import DeliveredMessage
from pamqp.common import FieldTable


class Delivery:
    """The parts of a delivered request that a worker reads."""

    def __init__(self, message: DeliveredMessage) -> None:
        properties = message.header.properties
        self._message = message
        self.body = message.body
        self.content_type = properties.content_type
        self.correlation_id = properties.correlation_id
        self.exchange = message.exchange or ""
        milliseconds = properties.expiration or ""
        self.expiration = int(milliseconds) / 1000 if milliseconds.isdecimal() else None
        self.headers: FieldTable = properties.headers or {}
        self.message_id = properties.message_id
        self.redelivered = bool(message.redelivered)
        self.reply_to = properties.reply_to or ""
        self.routing_key = message.routing_key or ""

    async def acknowledge(self, *, wait: bool) -> None:
        """Send the acknowledgement; with `wait`, return when it is written to the socket.

        Without it nothing grows: the broker delivers no more than the prefetch until it has received
        acknowledgements. Raises errors of aiormq if the channel is closed.
        """
        await self._message.channel.basic_ack(self._message.delivery_tag or 0, wait=wait)
