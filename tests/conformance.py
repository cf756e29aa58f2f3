"""Messages compared with an AsyncAPI document: each must be a declared message in every visible part.

Stricter than the document in one respect: receivers may ignore unknown members, but undeclared members fail here.
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

#: The content type of a message without one (RFC 9110, 8.3).
UNKNOWN_TYPE = "application/octet-stream"

FORMATS = FormatChecker(formats=())
FORMATS.checks("date-time", ValueError)(lambda value: bool(datetime.fromisoformat(str(value))))
FORMATS.checks("ipvanyaddress", ValueError)(lambda value: bool(ipaddress.ip_address(str(value))))


class Undeclared(Exception):
    """A message that the document does not declare, and the reason."""


class Declared:
    """The declarations of an AsyncAPI document."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._schemas = {
            name: {**schema, "additionalProperties": False} if "properties" in schema else schema
            for name, schema in document["components"]["schemas"].items()
        }

    def identify(self, published: Sequence[Published]) -> list[tuple[str, Published]]:
        """Return the messages with their names in the document. Raise `Undeclared` at the first undeclared one."""
        # A reply may be traced before its request, since they use different connections.
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
                raise Undeclared(f"a reply without a request: {message.properties}")
            if message.routing_key != request.properties.get("reply_to"):
                raise Undeclared(f"{request.routing_key}: the reply went to {message.routing_key}")
            operation = self._operation(request)
            references = operation["reply"]["messages"]
        reasons = {self._component_name(reference): list(self._reasons(reference, message)) for reference in references}
        matching = [name for name, found in reasons.items() if not found]
        if len(matching) != 1:
            raise Undeclared(f"{message.routing_key}: matches {matching}; {reasons}")
        if problems := list(self._broken_promises(operation, message)):
            raise Undeclared(f"{matching[0]}: {problems}")
        return matching[0]

    def _operation(self, message: Published) -> Json:
        """Return the operation on whose channel a message was published to a named exchange."""
        found = [
            operation
            for operation in self._document["operations"].values()
            if self._is_on(self._resolved(operation["channel"]), message)
        ]
        if len(found) != 1:
            raise Undeclared(f"{len(found)} channels for {message.routing_key} on {message.exchange}")
        operation: Json = found[0]
        return operation

    def _is_on(self, channel: Json, message: Published) -> bool:
        exchange = self._resolved(channel["bindings"])["amqp"]["exchange"]["name"]
        return exchange == message.exchange and _matched(channel, message) is not None

    def _reasons(self, reference: Json, message: Published) -> Iterator[str]:
        """Yield the differences from this message."""
        declared = self._resolved(reference)
        for trait in declared.get("traits", ()):
            declared = self._resolved(trait) | declared
        if message.properties.get("content_type", UNKNOWN_TYPE) != declared["contentType"]:
            yield "content type"
            return
        if message.properties.get("type") != declared["bindings"]["amqp"]["messageType"]:
            yield "type"
        yield from self._schema_errors(declared["x-amqp-properties"], message.properties)
        yield from self._schema_errors(declared.get("headers", {"maxProperties": 0}), message.headers)
        yield from self._schema_errors(declared["payload"], _payload(message))

    def _broken_promises(self, operation: Json, message: Published) -> Iterator[str]:
        """Yield the properties that the operation promises for its messages and this message lacks."""
        if message.exchange:
            channel, binding = self._resolved(operation["channel"]), self._resolved(operation["bindings"])["amqp"]
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

    def _schema_errors(self, schema: Json, value: object) -> Iterator[str]:
        whole = {**schema, "components": {"schemas": self._schemas}}
        for error in Draft7Validator(whole, format_checker=FORMATS).iter_errors(value):
            yield f"{error.json_path}: {error.message}"

    def _component_name(self, reference: Json) -> str:
        """Return the name of the component that a reference leads to."""
        target: Json = self._target(reference)
        return self._component_name(target) if "$ref" in target else str(reference["$ref"]).rpartition("/")[2]

    def _resolved(self, value: Json) -> Json:
        while "$ref" in value:
            value = self._target(value)
        return value

    def _target(self, reference: Json) -> Json:
        found: Json = self._document
        for part in reference["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return found


def _payload(message: Published) -> Any:
    if "json" not in message.properties.get("content_type", UNKNOWN_TYPE):
        return message.body.decode("latin-1")  # each byte is a character, so that a schema can describe it
    try:
        return json.loads(message.body)
    except ValueError:
        raise Undeclared(f"{message.routing_key}: the body is not JSON") from None


def _matched(channel: Json, message: Published) -> dict[str, str] | None:
    """Return the parameters of a channel's address as in the routing key; None for another address."""
    address = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^.]+)", re.escape(channel["address"]))
    found = re.fullmatch(address, message.routing_key)
    return found and found.groupdict()


def _parameters(channel: Json, message: Published) -> dict[str, str]:
    """Return the parameters of a channel's address as in the body."""
    found = {}
    for name, parameter in channel.get("parameters", {}).items():
        if "location" in parameter:
            value = _payload(message)
            for part in parameter["location"].removeprefix("$message.payload#/").split("/"):
                value = value[part]
            found[name] = value
    return found


def _codes(value: Any) -> Iterator[str]:
    """Yield the codes of all errors in a reply."""
    if isinstance(value, dict):
        if value.keys() >= {"code", "message"}:
            yield value["code"]
        for inner in value.values():
            yield from _codes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _codes(inner)
