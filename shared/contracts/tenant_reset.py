"""tenant.reset: return a code with which a tenant can set a new password, once. For operators.

The reply shows the code, and the database stores a digest of it. A later code replaces it. It expires
after an hour, or when anything else changes the tenant's password or revokes its sessions.
"""

from typing import Annotated

from pydantic import Field

from .errors import Forbidden, InvalidTenantToken, TenantNotFound
from .operation import Lane, Operation, OperatorRequest
from .permissions import Permission
from .wire import Milliseconds, WireModel


class TenantResetRequest(OperatorRequest):
    pass


class TenantResetReply(WireModel):
    code: Annotated[str, Field(min_length=1, repr=False)]
    """For `tenant.complete_reset`. It is a secret: anybody who has it can set the tenant's password."""
    expires_at: Milliseconds


TENANT_RESET = Operation(
    "tenant.reset",
    Lane.MANAGE,
    TenantResetRequest,
    TenantResetReply,
    (InvalidTenantToken, Forbidden, TenantNotFound),
    repeatable=True,
    audited=True,
    permission=Permission.TENANTS_WRITE,
)
