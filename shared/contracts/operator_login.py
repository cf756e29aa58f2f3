"""operator.login: exchange an operator's login and password for an operator's token, and open a session."""

from .auth_login import AuthLoginRequest
from .errors import Forbidden, InvalidCredentials, InvalidTenantToken, Throttled
from .operation import Lane, Operation
from .permissions import Permission
from .wire import Token, WireModel


class OperatorLoginRequest(AuthLoginRequest):
    """The request of `auth.login`, with a credential of the operators' tenant."""


class OperatorLoginReply(WireModel):
    access_token: Token
    """Accepted by this service only. No product of any tenant accepts it as a user's token."""


OPERATOR_LOGIN = Operation(
    "operator.login",
    Lane.PASSWORD,
    OperatorLoginRequest,
    OperatorLoginReply,
    (InvalidTenantToken, Forbidden, InvalidCredentials, Throttled),
    repeatable=True,
    audited=True,
    permission=Permission.AUTH_LOGIN,
)
