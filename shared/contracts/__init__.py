"""The contracts: one module per operation, and the table of all operations.

Contracts import only pydantic and the standard library.
"""

from typing import Any

from .audit_list import AUDIT_LIST
from .audit_search import AUDIT_SEARCH
from .health import HEALTH
from .operation import Operation
from .table import TABLE

#: All operations that workers answer, by name.
OPERATIONS: dict[str, Operation[Any, Any]] = {
    operation.name: operation for operation in (*TABLE, AUDIT_LIST, AUDIT_SEARCH, *HEALTH.values())
}
