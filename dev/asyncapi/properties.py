"""Schemas of a request's headers and of the AMQP properties of each message."""

from collections.abc import Sequence

from dev.asyncapi.schemas import Json
from shared.amqp.feed import PROBE_TYPE
from shared.amqp.telemetry import TRACE_HEADERS
from shared.amqp.topology import (
    DEADLINE_HEADER,
    DIRECT_REPLY_TO,
    ERROR_TYPE,
    JSON_TYPE,
    REPLY_ADDRESS,
    REPLY_TYPE,
    REQUEST_ID_HEADER,
)
from shared.contracts.events import SESSION_REVOKED
from shared.contracts.wire import REQUEST_ID
from worker.amqp.deadlines import MAX_DEADLINE_MS
from worker.amqp.events import CLOUDEVENTS_TYPE
from worker.amqp.unreadable import MAX_PROPERTIES_BYTES

#: Maximum length of an AMQP shortstr.
MAX_PROPERTY_CHARS = 255

_SHORT = {"type": "string", "maxLength": MAX_PROPERTY_CHARS}
_PRIORITY = {"type": "integer", "minimum": 0, "maximum": 255, "description": "Not used; libraries send 0."}


def _object(description: str, properties: Json, required: Sequence[str] = ()) -> Json:
    return {"type": "object", "description": description, "properties": properties, "required": list(required)}


#: The schemas by their names in the document.
CARRIED: dict[str, Json] = {
    "RequestHeaders": _object(
        "Headers of a request.",
        {
            DEADLINE_HEADER: {
                "type": "integer",
                "minimum": 0,
                "description": "Time at which the caller stops waiting, in milliseconds since the epoch, at most"
                f" {MAX_DEADLINE_MS // 60_000} minutes ahead. Workers do not start the request after it. Recommended.",
            },
            REQUEST_ID_HEADER: {
                "type": "string",
                "pattern": f"^{REQUEST_ID.pattern}$",
                "description": "Id of the request in the logs.",
            },
            **{
                name: {
                    "type": "string",
                    "description": f"`{name}` of W3C Trace Context; the worker continues the trace.",
                }
                for name in TRACE_HEADERS
            },
        },
    ),
    "RequestProperties": _object(
        f"AMQP properties of a request. Properties and headers together take at most {MAX_PROPERTIES_BYTES // 1024}"
        " KiB; a larger request is dropped unanswered.",
        {
            "content_type": {"type": "string", "const": JSON_TYPE},
            "reply_to": {
                "anyOf": [
                    {"type": "string", "const": DIRECT_REPLY_TO},
                    {"type": "string", "pattern": f"^{REPLY_ADDRESS.pattern}$"},
                ],
                "description": "The first form is sent by callers, the second is delivered by RabbitMQ.",
            },
            "correlation_id": {**_SHORT, "description": "Chosen by the caller; the reply repeats it."},
            "message_id": {
                **_SHORT,
                "description": "Idempotency key: a request sent again with the same key is done once, and returns the"
                " first result. Another request needs another key.",
            },
            "type": {**_SHORT, "description": "The operation's name. Only the routing key selects the operation."},
            "expiration": {
                "type": "string",
                "pattern": "^[0-9]+$",
                "description": "Milliseconds that the request may wait in its queue; set it to the caller's timeout."
                " Recommended.",
            },
            "delivery_mode": {
                "type": "integer",
                "enum": [1, 2],
                "description": "1 (transient) is enough: a request is answered or times out within seconds.",
            },
            "priority": _PRIORITY,
        },
        required=["content_type", "reply_to"],
    ),
    "ReplyProperties": _object(
        "AMQP properties of a reply.",
        {
            "content_type": {"type": "string", "const": JSON_TYPE},
            "type": {
                "type": "string",
                "enum": [REPLY_TYPE, ERROR_TYPE],
                "description": "Whether the body is a reply or an error.",
            },
            "correlation_id": {**_SHORT, "description": "The `correlation_id` of the request, if it had one."},
            "message_id": {**_SHORT, "description": "Id of the reply."},
            "delivery_mode": {"type": "integer", "const": 1},
            "priority": _PRIORITY,
        },
        required=["content_type", "type", "delivery_mode"],
    ),
    "EventProperties": _object(
        "AMQP properties of an event.",
        {
            "content_type": {"type": "string", "const": CLOUDEVENTS_TYPE},
            "type": {"type": "string", "const": SESSION_REVOKED, "description": "The event's type."},
            "message_id": {**_SHORT, "description": "The event's id."},
            "timestamp": {"type": "integer", "description": "Time of the revocation, in seconds since the epoch."},
            "delivery_mode": {"type": "integer", "const": 2},
            "priority": _PRIORITY,
        },
        required=["content_type", "type", "message_id", "timestamp", "delivery_mode"],
    ),
    "ProbeProperties": _object(
        "AMQP properties of a probe.",
        {
            "type": {
                "type": "string",
                "const": PROBE_TYPE,
                "description": "Lets other consumers recognise and skip the message.",
            },
            "message_id": {**_SHORT, "description": "Lets the sender recognise its probe."},
            "expiration": {"type": "string", "pattern": "^[0-9]+$", "description": "Milliseconds."},
            "delivery_mode": {"type": "integer", "const": 1},
            "priority": _PRIORITY,
        },
        required=["type", "message_id", "expiration", "delivery_mode"],
    ),
}
