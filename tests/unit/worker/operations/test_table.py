"""The table of handlers: which function answers which request."""

import typing
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.health import HEALTH
from shared.contracts.operation import Operation
from worker.operations import HANDLERS


def test_every_operation_has_a_handler() -> None:
    """A worker answers every operation, and nothing else."""
    assert set(HANDLERS) == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_handler_is_named_after_its_operation(operation: Operation[Any, Any]) -> None:
    """Function and module are the operation's word, and the function takes and answers its messages."""
    handler: Any = HANDLERS[operation.name]
    word = "health" if operation in HEALTH.values() else operation.name.replace(".", "_")
    assert handler.__name__ == word
    assert handler.__module__ == f"worker.operations.{word}"
    request, *_, reply = typing.get_type_hints(handler).values()
    assert (request, reply) == (operation.request, operation.reply)
