"""operator.update: set the operator permissions of a user of the operators' tenant.

Operators give and take only permissions that they have themselves.
"""

from .errors import Forbidden, InvalidTenantToken, UserNotFound
from .operation import Lane, Operation, TenantRequest
from .operator_list import Operator
from .permissions import OperatorPermissions, Permission
from .wire import Name, WireModel


class OperatorUpdateBody(WireModel):
    permissions: OperatorPermissions
    """All permissions that the user has from now on. An empty list: the user is no operator any more."""


class OperatorUpdateRequest(OperatorUpdateBody, TenantRequest):
    login: Name


OPERATOR_UPDATE = Operation(
    "operator.update",
    Lane.MANAGE,
    OperatorUpdateRequest,
    Operator,
    (InvalidTenantToken, Forbidden, UserNotFound),
    repeatable=True,
    audited=True,
    permission=Permission.OPERATORS_WRITE,
)
