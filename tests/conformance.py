"""Messages held against an AsyncAPI document: each must be one that it declares, in all that can be seen of it.

Stricter than the document in one thing: it lets receivers ignore what they do not know, and here everything counts that
is not declared.
"""

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from jsonschema import Draft7Validator, FormatChecker

from tests.firehose import Published

Json = dict[str, Any]

#: What a message is whose publisher does not say (RFC 9110, 8.3).
UNKNOWN_TYPE = "application/octet-stream"

FORMATS = FormatChecker(formats=())
FORMATS.checks("date-time", ValueError)(lambda value: bool(datetime.fromisoformat(str(value))))
FORMATS.checks("ipvanyaddress", ValueError)(lambda value: bool(ipaddress.ip_address(str(value))))


class Undeclared(Exception):
    """A message that is not in the document, and why."""


class Declared:
    """What an AsyncAPI document declares."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._schemas = {
            name: {**schema, "additionalProperties": False} if "properties" in schema else schema
            for name, schema in document["components"]["schemas"].items()
        }

    def identify(self, published: Sequence[Published]) -> list[tuple[str, Published]]:
        """These messages with their names in the document. Raises `Undeclared` at the first that is not in it."""
        # A reply may be traced before its request is: they travel on different connections.
        requests = {
            message.properties["correlation_id"]: message
            for message in published
            if message.exchange and "correlation_id" in message.properties
        }
        return [(self._name(message, requests), message) for message in published]

    def _name(self, message: Published, requests: Mapping[str, Published]) -> str:
        if message.exchange:
            operation = self._operation(message)
            references = operation["messages"]
        else:
            request = requests.get(message.properties.get("correlation_id", ""))
            if request is None:
                raise Undeclared(f"nobody has asked for this: {message.properties}")
            if message.routing_key != request.properties.get("reply_to"):
                raise Undeclared(f"{request.routing_key}: the reply went to {message.routing_key}")
            operation = self._operation(request)
            references = operation["reply"]["messages"]
        reasons = {self._end(reference): list(self._reasons(reference, message)) for reference in references}
        fitting = [name for name, found in reasons.items() if not found]
        if len(fitting) != 1:
            raise Undeclared(f"{message.routing_key}: fits {fitting}; {reasons}")
        if problems := list(self._promises(operation, message)):
            raise Undeclared(f"{fitting[0]}: {problems}")
        return fitting[0]

    def _operation(self, message: Published) -> Json:
        """The operation on whose channel a message to a named exchange was published."""
        found = [
            operation
            for operation in self._document["operations"].values()
            if self._is_on(self._at(operation["channel"]), message)
        ]
        if len(found) != 1:
            raise Undeclared(f"{len(found)} channels for {message.routing_key} on {message.exchange}")
        operation: Json = found[0]
        return operation

    def _is_on(self, channel: Json, message: Published) -> bool:
        exchange = self._at(channel["bindings"])["amqp"]["exchange"]["name"]
        return exchange == message.exchange and _matched(channel, message) is not None

    def _reasons(self, reference: Json, message: Published) -> Iterator[str]:
        """Why it is not this message; nothing if it is."""
        declared = self._at(reference)
        for trait in declared.get("traits", ()):
            declared = self._at(trait) | declared
        if message.properties.get("content_type", UNKNOWN_TYPE) != declared["contentType"]:
            yield "content type"
            return
        if message.properties.get("type") != declared["bindings"]["amqp"]["messageType"]:
            yield "type"
        yield from self._errors(declared["x-amqp-properties"], message.properties)
        yield from self._errors(declared.get("headers", {"maxProperties": 0}), message.headers)
        yield from self._errors(declared["payload"], _payload(message))

    def _promises(self, operation: Json, message: Published) -> Iterator[str]:
        """What the operation says of its messages and this one does not keep."""
        if message.exchange:
            channel, binding = self._at(operation["channel"]), self._at(operation["bindings"])["amqp"]
            if not _parameters(channel, message).items() <= (_matched(channel, message) or {}).items():
                yield "routing key"
            if message.properties.get("delivery_mode") != binding["deliveryMode"]:
                yield "delivery mode"
            if "expiration" in binding and message.properties.get("expiration") != str(binding["expiration"]):
                yield "expiration"
            if binding.get("timestamp") and "timestamp" not in message.properties:
                yield "timestamp"
            if len(message.body) > operation.get("x-max-body-bytes", len(message.body)):
                yield "size"
        elif message.properties["type"] == "reply":
            yield from set(_codes(_payload(message))) - set(operation.get("x-codes-in-reply", ()))

    def _errors(self, schema: Json, value: object) -> Iterator[str]:
        whole = {**schema, "components": {"schemas": self._schemas}}
        for error in Draft7Validator(whole, format_checker=FORMATS).iter_errors(value):
            yield f"{error.json_path}: {error.message}"

    def _end(self, reference: Json) -> str:
        """The name of the component that a reference leads to."""
        target: Json = self._step(reference)
        return self._end(target) if "$ref" in target else str(reference["$ref"]).rpartition("/")[2]

    def _at(self, value: Json) -> Json:
        while "$ref" in value:
            value = self._step(value)
        return value

    def _step(self, reference: Json) -> Json:
        found: Json = self._document
        for part in reference["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return found


def _payload(message: Published) -> Any:
    if "json" not in message.properties.get("content_type", UNKNOWN_TYPE):
        return message.body.decode("latin-1")  # each byte is a character, so that a schema can speak of it
    try:
        return json.loads(message.body)
    except ValueError:
        raise Undeclared(f"{message.routing_key}: the body is no JSON") from None


def _matched(channel: Json, message: Published) -> dict[str, str] | None:
    """The parameters of a channel's address, as the routing key has them; None if it is another address."""
    address = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^.]+)", re.escape(channel["address"]))
    found = re.fullmatch(address, message.routing_key)
    return found and found.groupdict()


def _parameters(channel: Json, message: Published) -> dict[str, str]:
    """The parameters of a channel's address, as the body has them."""
    found = {}
    for name, parameter in channel.get("parameters", {}).items():
        if "location" in parameter:
            value = _payload(message)
            for part in parameter["location"].removeprefix("$message.payload#/").split("/"):
                value = value[part]
            found[name] = value
    return found


def _codes(value: Any) -> Iterator[str]:
    """The codes of all errors inside of a reply."""
    if isinstance(value, dict):
        if value.keys() >= {"code", "message"}:
            yield value["code"]
        for inner in value.values():
            yield from _codes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _codes(inner)
