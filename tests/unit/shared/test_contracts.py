"""The table of operations: complete, with one word per operation everywhere."""

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
    """Return the operations of a module by the names of their constants."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Operation)}


#: Contract modules of one operation each; `health` has one operation per lane.
BY_MODULE = {name: operations_of(module) for name, module in MODULES.items() if operations_of(module)}


def test_table_of_operations_holds_exactly_the_contracts() -> None:
    in_modules = {operation.name for found in BY_MODULE.values() for operation in found.values()}
    in_health = {operation.name for operation in HEALTH.values()}
    assert set(OPERATIONS) == in_modules | in_health
    assert {lane: operation.lane for lane, operation in HEALTH.items()} == {lane: lane for lane in Lane}
    for name, operation in OPERATIONS.items():
        assert operation.name == name


@pytest.mark.parametrize("module", BY_MODULE)
def test_contract_module_constant_key_and_request_share_one_name(module: str) -> None:
    ((constant, operation),) = BY_MODULE[module].items()
    assert constant == module.upper()
    assert operation.name == module.replace("_", ".", 1)
    assert operation.request.__name__ == "".join(word.title() for word in module.split("_")) + "Request"
    assert (MODULES[module].__doc__ or "").startswith(f"{operation.name}: ")


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_operation_lists_its_own_errors_once(operation: Operation[Any, Any]) -> None:
    """Tenant requests include the invalid tenant token; errors of every operation are not repeated."""
    assert set(operation.errors) <= set(ERRORS.values()) - {Unavailable, Overloaded, DeadlineExceeded}
    assert len(set(operation.errors)) == len(operation.errors)
    if issubclass(operation.request, TenantRequest):
        assert InvalidTenantToken in operation.errors


def test_operation_is_bound_to_exactly_one_queue() -> None:
    queues = [queue for lane in Lane for queue in (lane_queue(lane), health_queue(lane))]
    bound = [operation for queue in queues for operation in queue.operations]
    assert sorted(bound) == sorted(OPERATIONS)
    assert len({queue.name for queue in queues}) == len(queues)


@pytest.mark.parametrize("lane", Lane)
def test_health_operation_has_a_queue_of_its_own(lane: Lane) -> None:
    """A full work queue must not block health checks."""
    assert health_queue(lane).operations == (f"health.{lane}",)
    assert health_queue(lane).max_length == LANE_MAX_LENGTH
    assert f"health.{lane}" not in lane_queue(lane).operations
    assert lane_queue(lane, 7).max_length == 7


def test_operation_with_a_password_is_in_the_password_lane() -> None:
    """Hashing must not delay other lanes."""
    for operation in OPERATIONS.values():
        assert ("password" in operation.request.model_fields) == (operation.lane is Lane.PASSWORD) or (
            operation in HEALTH.values()
        )


def test_operation_has_a_test_module_of_its_name() -> None:
    directory = Path(__file__).parents[1] / "worker" / "operations"
    assert {f"test_{module}.py" for module in [*BY_MODULE, "health"]} <= {path.name for path in directory.iterdir()}


def test_importing_a_contract_loads_only_pydantic_and_the_standard_library() -> None:
    """HTTP clients such as the console use the contracts without aio-pika."""
    program = "import sys, shared.contracts.auth_login; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()  # noqa: S603 - its own program
    assert {"shared", "pydantic"} <= set(loaded)
    assert not {"aio_pika", "aiormq", "pamqp", "yarl", "fastapi", "starlette"} & set(loaded)
