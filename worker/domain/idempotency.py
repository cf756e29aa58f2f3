"""Idempotency keys: how a redelivered or retried request is recognised, so that its change is made once."""

from typing import Any

from shared.contracts.operation import Operation
from worker.domain.call import Call
from worker.domain.identifiers import digest
from worker.domain.ports import Ports
from worker.domain.records import IdempotencyKey


def idempotency_key_of(
    operation: Operation[Any, Any], call: Call, ports: Ports, payload: object = None
) -> IdempotencyKey:
    """Return the request's idempotency key, made of the operation, the message id and `payload`.

    `payload` is what the request asks for, of JSON types and without a password. A caller that
    reuses a message id with another payload makes another request, so it never gets the result of
    the first one. Message ids come from callers and are no secret: a key proves nothing, and is
    compared only after the caller is authorised.
    """
    return IdempotencyKey(digest(operation.name, call.message_id, payload), ports.clock.now())
