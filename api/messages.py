"""Conversion of HTTP bodies to worker requests, and of worker replies to HTTP responses."""

from typing import Any, TypeVar

from fastapi import Response

from shared.contracts.validation import validated
from shared.contracts.wire import WireModel

RequestT = TypeVar("RequestT", bound=WireModel)


def to_request(model: type[RequestT], body: WireModel, **outside: Any) -> RequestT:
    """Return the worker request for a body, plus values from outside the body. Absent members stay absent."""
    given = {name: getattr(body, name) for name in body.model_fields_set}
    return validated(model, **given, **outside)


def to_response(reply: WireModel) -> Response:
    """Return a worker's reply as an HTTP response. It was validated when it was received."""
    return Response(reply.to_json(), media_type="application/json")
