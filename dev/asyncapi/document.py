"""The document: channels, operations and messages as AsyncAPI 3.0 describes them, from the side of the service.

It receives requests and sends replies and events. AMQP's own properties have no place in AsyncAPI, whose `headers` are
those of the application, so a message has them as a schema of its own: `x-amqp-properties`.
"""

import sys
from typing import Any

from dev.asyncapi.messages import amqp, codes_of_parts, message_traits, messages, reference, schemas
from dev.asyncapi.schemas import Json
from shared.amqp.feed import MISSING_SECONDS
from shared.amqp.topology import (
    DIRECT_REPLY_TO,
    ERROR_TYPE,
    EVENTS_EXCHANGE,
    JSON_TYPE,
    LANE_MAX_BYTES,
    LANE_MAX_LENGTH,
    MESSAGE_TTL_MS,
    REPLY_TYPE,
    RPC_EXCHANGE,
    health_queue,
    lane_queue,
    subscriber_queue,
)
from shared.contracts import OPERATIONS
from shared.contracts.errors import ErrorCode
from shared.contracts.events import revocations_key
from shared.contracts.health import HEALTH
from shared.contracts.operation import Lane, Operation

#: Of the messages, not of the software. What older peers may ignore does not change the first number.
VERSION = "3.0.0"

DESCRIPTION = f"""\
Requests go to the topic exchange `{RPC_EXCHANGE}` under the name of their operation; the reply comes back to the
caller's direct reply-to. Events go to the topic exchange `{EVENTS_EXCHANGE}`.

Members that a receiver does not know are to be ignored, so that older and newer peers understand each other. A schema
states the form of a value; some rules go beyond it, such as that a name is printable, and whoever breaks one is
answered `{ErrorCode.INVALID_REQUEST}` with the field's name.

A newer service may answer an error `code` that is not in this document. Treat an unknown code as temporary if the reply
has `retryAfterSeconds`, and otherwise as a refusal: nothing was done, and sending the same again does not help. Within
the answers of `auth.verify`, an unknown code without `retryAfterSeconds` means that the token is not accepted.

No answer is a message of its own. Published as `mandatory` on a channel with confirms, a request that is returned found
no worker (`{ErrorCode.UNAVAILABLE}`); one that is nacked found its lane's queue full (`{ErrorCode.OVERLOADED}`): more
than {LANE_MAX_LENGTH:,} requests (of the lane `{Lane.PASSWORD}` as many as its operator set), or
{LANE_MAX_BYTES // 2**20} MiB of them, wait in it. One that stays unanswered may or may not have been done
(`{ErrorCode.DEADLINE_EXCEEDED}`). A request without an `expiration` waits for {MESSAGE_TTL_MS // 1000} seconds at
most."""


def document() -> Json:
    """The whole document. The same contracts give the same document, to the byte."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Jincor Auth",
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": JSON_TYPE,
        "servers": {"broker": _server()},
        "channels": _channels(),
        "operations": {
            **{name: _operation(operation) for name, operation in OPERATIONS.items()},
            **_SENT,
        },
        "components": {
            "messages": messages(),
            "messageTraits": message_traits(),
            "schemas": schemas(),
            "correlationIds": {
                "correlation_id": {
                    "location": "$message.header#/correlation_id",
                    "description": "The AMQP property `correlation_id`: the caller's own, and the same in the reply.",
                }
            },
            "replyAddresses": {
                "reply_to": {
                    "location": "$message.header#/reply_to",
                    "description": f"The AMQP property `reply_to`: `{DIRECT_REPLY_TO}`, consumed without"
                    " acknowledgements on the channel that publishes the request. Any other is not answered.",
                }
            },
            "channelBindings": {
                "rpc": _exchange(RPC_EXCHANGE, "topic"),
                "events": _exchange(EVENTS_EXCHANGE, "topic"),
                "replies": _exchange("", "default"),
            },
            "operationBindings": {
                # Each caller has an expiration of its own.
                "rpc": amqp(deliveryMode=1, mandatory=True, ack=True),
                "events": amqp(deliveryMode=2, timestamp=True),
                "probes": amqp(deliveryMode=1, mandatory=True, ack=True, expiration=int(MISSING_SECONDS * 1000)),
            },
            "securitySchemes": {
                "broker": {
                    "type": "userPassword",
                    "description": "A user of the broker. Tenants prove themselves with their token, in the request.",
                }
            },
        },
    }


def _server() -> Json:
    return {
        "host": "{host}",
        "protocol": "amqp",
        "protocolVersion": "0-9-1",
        "description": "Your RabbitMQ; `amqps` where it speaks TLS.",
        "variables": {"host": {"default": "localhost:5672"}},
        "security": [reference("components", "securitySchemes", "broker")],
    }


def _channels() -> Json:
    replies = [f"{name}.{kind}" for name in OPERATIONS for kind in (REPLY_TYPE, ERROR_TYPE)]
    return {
        **{
            name: {
                "address": name,
                "messages": {"request": reference("components", "messages", f"{name}.request")},
                "bindings": reference("components", "channelBindings", "rpc"),
            }
            for name in OPERATIONS
        },
        "replies": {
            "address": None,
            "description": "Where the request says. The AMQP `type` tells a reply from an error.",
            "messages": {message: reference("components", "messages", message) for message in replies},
            "bindings": reference("components", "channelBindings", "replies"),
        },
        "session.revoked": {
            "address": revocations_key("{tenant}"),
            "description": "Bind a queue of your own: exclusive for a cache, durable and named for an audit. Ignore"
            f" what was not published to the exchange `{EVENTS_EXCHANGE}` under the routing key that its content names:"
            " no worker announced it.",
            "parameters": {"tenant": {"description": "The tenant's id.", "location": "$message.payload#/data/tenant"}},
            "messages": {"event": reference("components", "messages", "session.revoked")},
            "bindings": reference("components", "channelBindings", "events"),
        },
        "probe": {
            "address": subscriber_queue("{subscriber}", "{queue}"),
            "description": f"A queue's own name, by which it is bound to `{EVENTS_EXCHANGE}` beside the revocations; "
            f"`{RPC_EXCHANGE}`, or the exchange of a service, passes on to `{EVENTS_EXCHANGE}` what is for such names.",
            "parameters": {
                "subscriber": {"description": "Who it is for: by this, a user of the broker gets permission."},
                "queue": {"description": "Which of the subscriber's queues it is."},
            },
            "messages": {"probe": reference("components", "messages", "probe")},
            "bindings": reference("components", "channelBindings", "rpc"),
        },
    }


def _operation(operation: Operation[Any, Any]) -> Json:
    name, (summary, description), codes = operation.name, _prose(operation), codes_of_parts(operation)
    queue = health_queue(operation.lane) if operation in HEALTH.values() else lane_queue(operation.lane)
    return {
        "action": "receive",
        "channel": reference("channels", name),
        "summary": summary,
        **({"description": description} if description else {}),
        "tags": [{"name": name.partition(".")[0]}],
        "messages": [reference("channels", name, "messages", "request")],
        "reply": {
            "address": reference("components", "replyAddresses", "reply_to"),
            "channel": reference("channels", "replies"),
            "messages": [
                reference("channels", "replies", "messages", f"{name}.{kind}") for kind in (REPLY_TYPE, ERROR_TYPE)
            ],
        },
        "bindings": reference("components", "operationBindings", "rpc"),
        "x-lane": str(operation.lane),
        "x-queue": queue.name,
        "x-repeatable": operation.repeatable,
        "x-max-body-bytes": operation.max_body_bytes,
        **({"x-codes-in-reply": codes} if codes else {}),
    }


def _prose(operation: Operation[Any, Any]) -> tuple[str, str]:
    """What the operation's module says of it: the first line after the name, and the rest."""
    first, _, rest = (sys.modules[operation.request.__module__].__doc__ or "").partition("\n\n")
    said = " ".join(first.partition(": ")[2].split())
    return said[:1].upper() + said[1:], rest.strip()


def _exchange(name: str, kind: str) -> Json:
    exchange = {"name": name, "type": kind, "durable": True, "autoDelete": False}
    return amqp(**{"is": "routingKey"}, exchange=exchange)


_SENT = {
    "session.revoked": {
        "action": "send",
        "channel": reference("channels", "session.revoked"),
        "summary": "A session has ended before its time: told at least once, in no promised order.",
        "description": "An event has the same id each time it is sent. Skip messages of a `type` that you do not know.",
        "tags": [{"name": "event"}],
        "messages": [reference("channels", "session.revoked", "messages", "event")],
        "bindings": reference("components", "operationBindings", "events"),
    },
    "probe": {
        "action": "send",
        "channel": reference("channels", "probe"),
        "summary": "A subscriber's message to itself: since it comes back, a revocation would have come too.",
        "tags": [{"name": "event"}],
        "messages": [reference("channels", "probe", "messages", "probe")],
        "bindings": reference("components", "operationBindings", "probes"),
    },
}
