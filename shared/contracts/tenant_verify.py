"""tenant.verify: verify a tenant token and return its claims."""

from .claims import Claims
from .errors import InvalidToken
from .operation import Lane, Operation
from .wire import Token, WireModel


class TenantVerifyRequest(WireModel):
    token: Token


class TenantVerifyReply(WireModel):
    decoded: Claims


TENANT_VERIFY = Operation(
    "tenant.verify", Lane.VERIFY, TenantVerifyRequest, TenantVerifyReply, (InvalidToken,), repeatable=True
)
