"""operator.set_password: change the operator's own password, and revoke all its sessions.

The session of the request is revoked, too.
"""

from .errors import Forbidden, InvalidCredentials, InvalidTenantToken, Throttled
from .operation import Done, Lane, Operation, TenantRequest
from .wire import NewPassword, TriedPassword, WireModel


class OperatorSetPasswordBody(WireModel):
    current_password: TriedPassword
    password: NewPassword


class OperatorSetPasswordRequest(OperatorSetPasswordBody, TenantRequest):
    pass


OPERATOR_SET_PASSWORD = Operation(
    "operator.set_password",
    Lane.PASSWORD,
    OperatorSetPasswordRequest,
    Done,
    (InvalidTenantToken, Forbidden, InvalidCredentials, Throttled),
    repeatable=True,
    audited=True,
)
