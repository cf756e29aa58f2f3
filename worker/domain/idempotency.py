"""How a request is known again when it comes twice: redelivered after a crash, or sent again by its caller."""

import hashlib
import json
from typing import Any

from shared.contracts.operation import Operation
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import Mark

#: 128 bits: two requests of one tenant about one user must not be taken for each other.
NAME_BYTES = 16


def mark_of(operation: Operation[Any, Any], call: Call, ports: Ports, asked: object = None) -> Mark:
    """What this request leaves in what it changes.

    `asked` is what it asks for beyond whom it is about, in JSON's types and without a password: the same message id
    with something else is another request, so that nothing is taken for done that was not. Message ids come from
    callers and are no secret. A mark proves nothing: it is compared where the caller may act anyway.
    """
    return Mark(request_name(operation.name, call.message_id, asked), ports.clock.now())


def request_name(*parts: object) -> str:
    """Name a request by its parts, of JSON's types: a digest of their list.

    Parts joined with a separator would collide, since callers choose most of them and may put the separator into them.
    """
    named = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(named.encode(), digest_size=NAME_BYTES).hexdigest()
