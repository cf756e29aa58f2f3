"""The document's messages and schemas: request, reply and error of each operation, the event and the probe."""

from collections.abc import Sequence
from typing import Any

from dev.asyncapi.properties import CARRIED
from dev.asyncapi.schemas import SCHEMAS, Json, names_in, schemas_of
from shared.amqp.feed import PROBE_TYPE
from shared.amqp.topology import ERROR_TYPE, JSON_TYPE, REPLY_TYPE, lane_queue
from shared.contracts import OPERATIONS
from shared.contracts.errors import (
    ERRORS,
    AuthError,
    BadRequest,
    ErrorCode,
    ErrorReply,
    InternalError,
    InvalidRequest,
    InvalidTenantToken,
    Overloaded,
    Throttled,
    Unavailable,
)
from shared.contracts.events import SESSION_REVOKED, SessionRevokedEvent
from shared.contracts.operation import Lane, Operation
from worker.amqp.events import CLOUDEVENTS_TYPE

#: The newest version of the AMQP bindings that the official schema of AsyncAPI 3.0.0 validates.
BINDING_VERSION = "0.3.0"
#: Error replies to any request. `deadline_exceeded` is no reply: the caller detects it by its own clock.
COMMON_ERRORS: tuple[type[AuthError], ...] = (BadRequest, InvalidRequest, Unavailable, InternalError)
#: Error replies in the password lane, for too many waiting requests of a tenant. A full queue is nacked by the broker.
PASSWORD_ERRORS: tuple[type[AuthError], ...] = (Overloaded,)


def messages() -> dict[str, Json]:
    """Return every message by name, such as `auth.login.request`, `auth.login.error` and `session.revoked`."""
    found: dict[str, Json] = {}
    for name, operation in OPERATIONS.items():
        found[f"{name}.request"] = {
            "name": operation.request.__name__,
            "traits": [reference("components", "messageTraits", "request")],
            "payload": _schema(operation.request.__name__),
            "bindings": amqp(messageType=name),
        }
        found[f"{name}.{REPLY_TYPE}"] = {
            "name": operation.reply.__name__,
            "traits": [reference("components", "messageTraits", REPLY_TYPE)],
            "payload": _schema(operation.reply.__name__),
        }
        found[f"{name}.{ERROR_TYPE}"] = {
            "name": ErrorReply.__name__,
            "traits": [reference("components", "messageTraits", ERROR_TYPE)],
            "payload": {
                "allOf": [
                    _schema(ErrorReply.__name__),
                    {"properties": {"code": {"enum": _codes_as_a_whole(operation)}}},
                ]
            },
        }
    found["session.revoked"] = {
        "name": SessionRevokedEvent.__name__,
        "contentType": CLOUDEVENTS_TYPE,
        "payload": _schema(SessionRevokedEvent.__name__),
        "bindings": amqp(messageType=SESSION_REVOKED),
        "x-amqp-properties": _schema("EventProperties"),
    }
    found["probe"] = {
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "maxLength": 0, "description": "The body is empty."},
        "bindings": amqp(messageType=PROBE_TYPE),
        "x-amqp-properties": _schema("ProbeProperties"),
    }
    return found


def message_traits() -> dict[str, Json]:
    """Return the common parts of all requests, of all replies and of all errors."""
    common = {"contentType": JSON_TYPE, "correlationId": reference("components", "correlationIds", "correlation_id")}
    request = {
        **common,
        "headers": _schema("RequestHeaders"),
        "x-amqp-properties": _schema("RequestProperties"),
    }
    replies = {
        kind: {**common, "bindings": amqp(messageType=kind), "x-amqp-properties": _schema("ReplyProperties")}
        for kind in (REPLY_TYPE, ERROR_TYPE)
    }
    return {"request": request, **replies}


def schemas() -> dict[str, Json]:
    """Return every schema by name."""
    found = schemas_of(
        received=[operation.request for operation in OPERATIONS.values()],
        sent=[*(operation.reply for operation in OPERATIONS.values()), ErrorReply, SessionRevokedEvent],
    )
    found["ErrorCode"]["x-enum-descriptions"] = [_meaning(ErrorCode(code)) for code in found["ErrorCode"]["enum"]]
    return dict(sorted((found | CARRIED).items()))


def codes_of_parts(operation: Operation[Any, Any]) -> list[str]:
    """Return the error codes of single answers in a batched reply, or nothing if the reply is no batch."""
    inner = schemas_of([], [operation.reply]).values()
    return _codes(_own(operation)) if ErrorReply.__name__ in names_in(list(inner)) else []


def reference(*path: str) -> Json:
    """Return a reference to another place in the document."""
    return {"$ref": "/".join(("#", *path))}


def amqp(**binding: object) -> Json:
    """Return a bindings object for AMQP 0-9-1."""
    return {"amqp": {**binding, "bindingVersion": BINDING_VERSION}}


def _codes_as_a_whole(operation: Operation[Any, Any]) -> list[str]:
    own = () if codes_of_parts(operation) else _own(operation)
    takes_turns = operation.name in lane_queue(Lane.PASSWORD).operations
    return _codes((*own, *(PASSWORD_ERRORS if takes_turns else ()), *COMMON_ERRORS))


def _own(operation: Operation[Any, Any]) -> Sequence[type[AuthError]]:
    """Return the operation's errors. Wrong secrets of API keys may be throttled wherever a credential is checked."""
    checks_keys = InvalidTenantToken in operation.errors and Throttled not in operation.errors
    return (*operation.errors, Throttled) if checks_keys else operation.errors


def _codes(errors: Sequence[type[AuthError]]) -> list[str]:
    return [str(error.code) for error in errors]


def _meaning(code: ErrorCode) -> str:
    error = ERRORS[code]
    return error.__doc__ or f"{error.text[:1].upper()}{error.text[1:]}."


def _schema(name: str) -> Json:
    return {"$ref": f"{SCHEMAS}{name}"}
