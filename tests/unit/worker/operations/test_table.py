"""The table of handlers by operation."""

import typing
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.health import HEALTH
from shared.contracts.operation import Operation
from worker.operations import HANDLERS


def test_table_of_handlers_holds_exactly_the_operations() -> None:
    assert set(HANDLERS) == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_handler_has_the_name_and_types_of_its_operation(operation: Operation[Any, Any]) -> None:
    handler: Any = HANDLERS[operation.name]
    word = "health" if operation in HEALTH.values() else operation.name.replace(".", "_")
    assert handler.__name__ == word
    assert handler.__module__ == f"worker.operations.{word}"
    request, *_, reply = typing.get_type_hints(handler).values()
    assert (request, reply) == (operation.request, operation.reply)
