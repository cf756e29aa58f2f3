"""Idempotency keys: how a redelivered or retried request is recognised, so that its change is made once."""

import hashlib
import json
from typing import Any

from shared.contracts.operation import Operation
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import IdempotencyKey

#: 128 bits: the keys of two different requests must not collide.
DIGEST_BYTES = 16


def idempotency_key_of(
    operation: Operation[Any, Any], call: Call, ports: Ports, payload: object = None
) -> IdempotencyKey:
    """Return the request's idempotency key, made of the operation, the message id and `payload`.

    `payload` is what the request asks for, of JSON types and without a password. A caller that
    reuses a message id with another payload makes another request, so it never gets the result of
    the first one. Message ids come from callers and are no secret: a key proves nothing, and is
    compared only after the caller is authorised.
    """
    return IdempotencyKey(request_digest(operation.name, call.message_id, payload), ports.clock.now())


def request_digest(*parts: object) -> str:
    """Return a digest of these parts, which are of JSON types.

    The parts are hashed as a JSON list. Parts joined with a separator would collide, since callers
    choose most of them and could include the separator.
    """
    encoded = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(encoded.encode(), digest_size=DIGEST_BYTES).hexdigest()
