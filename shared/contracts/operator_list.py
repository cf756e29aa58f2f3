"""operator.list: list the operators of this installation and their permissions, in order of login."""

from .errors import Forbidden, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import StoredEmail, WireModel

#: Far more operators than an installation has.
MAX_OPERATORS_LISTED = 1_000


class Operator(WireModel):
    """A user of the operators' tenant that has operator permissions."""

    id: str
    login: str
    email: StoredEmail
    permissions: tuple[Permission | str, ...]
    """In alphabetical order. A newer worker may send names that are not in this list."""


class OperatorListRequest(TenantRequest):
    pass


class OperatorListReply(WireModel):
    operators: tuple[Operator, ...]
    """At most the first 1,000."""


OPERATOR_LIST = Operation(
    "operator.list",
    Lane.MANAGE,
    OperatorListRequest,
    OperatorListReply,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    permission=Permission.OPERATORS_WRITE,
)
