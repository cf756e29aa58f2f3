"""operator.logout: revoke the session of the operator's token that authenticates the request."""

from .errors import Forbidden, InvalidTenantToken
from .operation import Done, Lane, Operation, TenantRequest


class OperatorLogoutRequest(TenantRequest):
    pass


OPERATOR_LOGOUT = Operation(
    "operator.logout",
    Lane.MANAGE,
    OperatorLogoutRequest,
    Done,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    audited=True,
)
