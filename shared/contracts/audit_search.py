"""audit.search: find the audit records of one login in the trails of all tenants that have it. For operators."""

from .audit_list import AuditListQuery, AuditRecord
from .errors import Forbidden, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import Name, WireModel

#: A search reads the trails of so many tenants at most, each by its index.
MAX_TENANTS_SEARCHED = 50


class AuditSearchQuery(AuditListQuery):
    login: Name
    """The login of a user, or `tenant:` and the email of a tenant. At most 50 tenants may have it: the trail of one
    tenant is read with `audit.list`."""


class AuditSearchRequest(AuditSearchQuery, TenantRequest):
    pass


class TenantAuditRecord(AuditRecord):
    tenant: str
    """The id of the tenant whose trail has the record."""


class AuditSearchReply(WireModel):
    records: tuple[TenantAuditRecord, ...]
    """The newest first."""
    next_cursor: str
    """The cursor of the next page; `0` on the last page."""


AUDIT_SEARCH = Operation(
    "audit.search",
    Lane.MANAGE,
    AuditSearchRequest,
    AuditSearchReply,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    permission=Permission.TENANTS_READ,
    also_needs=Permission.AUDIT_READ,
)
