"""Building a request from a caller's values."""

from typing import Any, TypeVar

from pydantic import ValidationError

from .errors import InvalidRequest
from .wire import WireModel

ModelT = TypeVar("ModelT", bound=WireModel)


def validated(model: type[ModelT], **fields: Any) -> ModelT:
    """Return a request with these fields. Raises `InvalidRequest` with all bad fields, as a worker
    would."""
    try:
        return model(**fields)
    except ValidationError as error:
        raise InvalidRequest.from_validation(error) from None
