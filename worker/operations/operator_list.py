"""The operation `operator.list`."""

from shared.contracts.operator_list import (
    MAX_OPERATORS_LISTED,
    OPERATOR_LIST,
    OperatorListReply,
    OperatorListRequest,
)
from worker.domain.call import Call
from worker.domain.operators import operator_of
from worker.domain.ports import Ports
from worker.domain.views import public_operator


async def operator_list(request: OperatorListRequest, call: Call, ports: Ports) -> OperatorListReply:
    """Return the operators in order of login."""
    tenant = (await operator_of(OPERATOR_LIST, request, call, ports)).session.tenant
    operators = await ports.users.operators(tenant, MAX_OPERATORS_LISTED)
    return OperatorListReply(operators=tuple(public_operator(user) for user in operators))
