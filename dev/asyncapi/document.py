"""The AsyncAPI 3.0 document: channels, operations and messages from the service's point of view.

The service receives requests, and sends replies and events. AsyncAPI's `headers` are application headers, so
each message describes its AMQP properties in a schema of their own: `x-amqp-properties`.
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
from shared.contracts.other_proofs import sentence_of

#: Version of the messages, not of the software. Additions that older peers may ignore keep the major number.
VERSION = "3.0.0"

DESCRIPTION = f"""\
Publish requests to the topic exchange `{RPC_EXCHANGE}` with the operation's name as the routing key. The reply arrives
at the caller's direct reply-to. The service publishes events to the topic exchange `{EVENTS_EXCHANGE}`.

Ignore unknown members, so that older and newer peers understand each other. A schema states the form of a value. Some
rules go beyond the schema: a name must be printable, for example. A request that breaks such a rule is answered
`{ErrorCode.INVALID_REQUEST}` with the field's name.

A newer service may answer an error `code` that is not in this document. Treat an unknown code as temporary if the reply
has `retryAfterSeconds`. Otherwise treat it as a refusal: nothing was done, and retrying does not help. Within the
answers of `auth.verify`, an unknown code without `retryAfterSeconds` means that the token is not accepted.

Callers also detect errors without a reply. For this, publish requests as `mandatory`, on a channel with confirms:

- `{ErrorCode.UNAVAILABLE}`: the broker returns the request, because no worker serves it.
- `{ErrorCode.OVERLOADED}`: the broker nacks the request, because the queue of its lane is full. A queue holds
  {LANE_MAX_LENGTH:,} requests (in the lane `{Lane.PASSWORD}` as many as the operator has set), or
  {LANE_MAX_BYTES // 2**20} MiB of them.
- `{ErrorCode.DEADLINE_EXCEEDED}`: no reply arrives in time. The request may or may not have been done.

A request without an `expiration` waits for at most {MESSAGE_TTL_MS // 1000} seconds."""


def document() -> Json:
    """Return the whole document. The same contracts give the same bytes."""
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
                    "description": "The AMQP property `correlation_id`. The caller chooses it; the reply repeats it.",
                }
            },
            "replyAddresses": {
                "reply_to": {
                    "location": "$message.header#/reply_to",
                    "description": f"The AMQP property `reply_to`: `{DIRECT_REPLY_TO}`, consumed without"
                    " acknowledgements on the channel that publishes the request. Other addresses get no reply.",
                }
            },
            "channelBindings": {
                "rpc": _exchange(RPC_EXCHANGE, "topic"),
                "events": _exchange(EVENTS_EXCHANGE, "topic"),
                "replies": _exchange("", "default"),
            },
            "operationBindings": {
                # No expiration here: each caller chooses its own.
                "rpc": amqp(deliveryMode=1, mandatory=True, ack=True),
                "events": amqp(deliveryMode=2, timestamp=True),
                "probes": amqp(deliveryMode=1, mandatory=True, ack=True, expiration=int(MISSING_SECONDS * 1000)),
            },
            "securitySchemes": {
                "broker": {
                    "type": "userPassword",
                    "description": "A user of the broker. Callers authenticate with their credential, in the request.",
                }
            },
        },
    }


def _server() -> Json:
    return {
        "host": "{host}",
        "protocol": "amqp",
        "protocolVersion": "0-9-1",
        "description": "Your RabbitMQ; `amqps` if it uses TLS.",
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
            "description": "The `reply_to` of the request. The AMQP `type` is `reply` or `error`.",
            "messages": {message: reference("components", "messages", message) for message in replies},
            "bindings": reference("components", "channelBindings", "replies"),
        },
        "session.revoked": {
            "address": revocations_key("{tenant}"),
            "description": "Bind your own queue: exclusive for a cache, durable and named for an audit trail. Ignore a"
            f" message unless its exchange is `{EVENTS_EXCHANGE}` and its routing key names the tenant in its body:"
            " no worker announced it.",
            "parameters": {"tenant": {"description": "The tenant's id.", "location": "$message.payload#/data/tenant"}},
            "messages": {"event": reference("components", "messages", "session.revoked")},
            "bindings": reference("components", "channelBindings", "events"),
        },
        "probe": {
            "address": subscriber_queue("{subscriber}", "{queue}"),
            "description": "The routing key is the name of the subscriber's queue, which is bound to"
            f" `{EVENTS_EXCHANGE}` with this key too. Publish to `{RPC_EXCHANGE}`, or to the exchange of the service,"
            f" which passes such messages on to `{EVENTS_EXCHANGE}`.",
            "parameters": {
                "subscriber": {"description": "The subscriber's name, as in the permissions of its broker user."},
                "queue": {"description": "The rest of the name of the subscriber's queue."},
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
        "description": "\n\n".join(filter(None, (description, _needs(operation)))),
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
        **({"x-permission": str(operation.permission)} if operation.permission else {}),
        **({"x-second-permission": str(operation.also_needs)} if operation.also_needs else {}),
        **({"x-permission-of-operator": str(operation.of_operator)} if operation.of_operator else {}),
        "x-lane": str(operation.lane),
        "x-queue": queue.name,
        "x-repeatable": operation.repeatable,
        "x-max-body-bytes": operation.max_body_bytes,
        **({"x-codes-in-reply": codes} if codes else {}),
    }


def _needs(operation: Operation[Any, Any]) -> str:
    """Return the sentence about the operation's permission, and what an operator needs if that differs."""
    needs = sentence_of(operation)
    return f"{needs} An operator's token needs `{operation.of_operator}`." if operation.of_operator else needs


def _prose(operation: Operation[Any, Any]) -> tuple[str, str]:
    """Return summary and description from the docstring of the operation's module."""
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
        "summary": "A session was revoked. Delivered at least once, in no guaranteed order.",
        "description": "Duplicates of an event have the same id. Skip messages with an unknown `type`.",
        "tags": [{"name": "event"}],
        "messages": [reference("channels", "session.revoked", "messages", "event")],
        "bindings": reference("components", "operationBindings", "events"),
    },
    "probe": {
        "action": "send",
        "channel": reference("channels", "probe"),
        "summary": "A subscriber's message to itself, whose return proves that revocations arrive too.",
        "tags": [{"name": "event"}],
        "messages": [reference("channels", "probe", "messages", "probe")],
        "bindings": reference("components", "operationBindings", "probes"),
    },
}
