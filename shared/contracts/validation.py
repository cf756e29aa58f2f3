"""Making a message of fields that somebody gave."""

from typing import Any, TypeVar

from pydantic import ValidationError

from .errors import InvalidRequest
from .wire import WireModel

ModelT = TypeVar("ModelT", bound=WireModel)


def validated(model: type[ModelT], **fields: Any) -> ModelT:
    """A request of these fields. Raises `InvalidRequest`, as the worker would, naming every bad one."""
    try:
        return model(**fields)
    except ValidationError as error:
        raise InvalidRequest.from_validation(error) from None
