"""HTTP bodies into requests to workers, and their replies into HTTP answers."""

from typing import Any, TypeVar

from fastapi import Response

from shared.contracts.validation import validated
from shared.contracts.wire import WireModel

RequestT = TypeVar("RequestT", bound=WireModel)


def to_request(model: type[RequestT], body: WireModel, **outside: Any) -> RequestT:
    """The request that a body makes, with what came outside of it. What was absent stays absent, unlike null."""
    given = {name: getattr(body, name) for name in body.model_fields_set}
    return validated(model, **given, **outside)


def to_response(reply: WireModel) -> Response:
    """A reply as it came from the worker: checked when it was received, so not validated again."""
    return Response(reply.to_json(), media_type="application/json")
