"""The operation `operator.login`."""

from shared.contracts.operator_login import OPERATOR_LOGIN, OperatorLoginReply, OperatorLoginRequest
from worker.domain.call import Call
from worker.domain.password_login import log_in
from worker.domain.ports import Ports


async def operator_login(request: OperatorLoginRequest, call: Call, ports: Ports) -> OperatorLoginReply:
    """Check an operator's password and create a session: see `log_in`."""
    return OperatorLoginReply(access_token=await log_in(OPERATOR_LOGIN, request, call, ports, as_operator=True))
