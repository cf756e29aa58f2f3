"""The table of operations is complete, and one word per operation holds everywhere."""

import importlib
import pkgutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from shared import contracts
from shared.amqp.topology import LANE_MAX_LENGTH, health_queue, lane_queue
from shared.contracts import OPERATIONS
from shared.contracts.errors import ERRORS, DeadlineExceeded, InvalidTenantToken, Overloaded, Unavailable
from shared.contracts.health import HEALTH
from shared.contracts.operation import Lane, Operation, TenantRequest

MODULES = {
    module.name: importlib.import_module(f"{contracts.__name__}.{module.name}")
    for module in pkgutil.iter_modules(contracts.__path__)
    if module.name != "table"
}


def operations_of(module: types.ModuleType) -> dict[str, Operation[Any, Any]]:
    """The operations that a module names in upper case, by those names."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Operation)}


#: Contract modules of one operation each; `health` is one operation for each lane.
BY_MODULE = {name: operations_of(module) for name, module in MODULES.items() if operations_of(module)}


def test_every_contract_is_in_the_table() -> None:
    """An operation that has a contract is one that workers answer, and the other way round."""
    in_modules = {operation.name for found in BY_MODULE.values() for operation in found.values()}
    in_health = {operation.name for operation in HEALTH.values()}
    assert set(OPERATIONS) == in_modules | in_health
    assert {lane: operation.lane for lane, operation in HEALTH.items()} == {lane: lane for lane in Lane}
    for name, operation in OPERATIONS.items():
        assert operation.name == name


@pytest.mark.parametrize("module", BY_MODULE)
def test_one_word_an_operation(module: str) -> None:
    """Module, constant, routing key and request are all named after the one operation in the module."""
    ((constant, operation),) = BY_MODULE[module].items()
    assert constant == module.upper()
    assert operation.name == module.replace("_", ".", 1)
    assert operation.request.__name__ == "".join(word.title() for word in module.split("_")) + "Request"
    assert (MODULES[module].__doc__ or "").startswith(f"{operation.name}: ")


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_names_its_errors(operation: Operation[Any, Any]) -> None:
    """What a tenant asks for may be refused for its token; what any operation may answer is not repeated."""
    assert set(operation.errors) <= set(ERRORS.values()) - {Unavailable, Overloaded, DeadlineExceeded}
    assert len(set(operation.errors)) == len(operation.errors)
    if issubclass(operation.request, TenantRequest):
        assert InvalidTenantToken in operation.errors


def test_lanes_bind_each_operation_once() -> None:
    """Every operation has exactly one queue, and no queue a name of nothing."""
    queues = [queue for lane in Lane for queue in (lane_queue(lane), health_queue(lane))]
    bound = [operation for queue in queues for operation in queue.operations]
    assert sorted(bound) == sorted(OPERATIONS)
    assert len({queue.name for queue in queues}) == len(queues)


@pytest.mark.parametrize("lane", Lane)
def test_health_passes_by_the_work(lane: Lane) -> None:
    """A lane's health is asked over a queue of its own, whose limit is none of the work's."""
    assert health_queue(lane).operations == (f"health.{lane}",)
    assert health_queue(lane).max_length == LANE_MAX_LENGTH
    assert f"health.{lane}" not in lane_queue(lane).operations
    assert lane_queue(lane, 7).max_length == 7


def test_passwords_have_a_lane() -> None:
    """Whatever carries a password is hashed, and waits where it holds up nothing else."""
    for operation in OPERATIONS.values():
        assert ("password" in operation.request.model_fields) == (operation.lane is Lane.PASSWORD) or (
            operation in HEALTH.values()
        )


def test_every_operation_has_its_tests() -> None:
    """The operation's word is also the name of its tests."""
    directory = Path(__file__).parents[1] / "worker" / "operations"
    assert {f"test_{module}.py" for module in [*BY_MODULE, "health"]} <= {path.name for path in directory.iterdir()}


def test_importing_a_contract_needs_pydantic_and_the_standard_library_alone() -> None:
    """A console or a command line that speaks HTTP uses the contracts without aio-pika."""
    program = "import sys, shared.contracts.auth_login; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()  # noqa: S603 - its own program
    assert {"shared", "pydantic"} <= set(loaded)
    assert not {"aio_pika", "aiormq", "pamqp", "yarl", "fastapi", "starlette"} & set(loaded)
