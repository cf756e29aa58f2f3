"""audit.list: what was done with a tenant's accounts, and tried, page by page, the newest first.

For the tenant alone. A record holds names and addresses, never a password, a token or a secret. Those of a state that
was changed are written before the change is answered; refused attempts some seconds later.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from .errors import InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .user_list import NO_CURSOR
from .wire import Milliseconds, Name, OrAbsent, WireModel

#: The end of the year 9999, which is the end of dates.
MAX_TIME = 253_402_300_799_999
#: A time and the id of a record.
MAX_CURSOR_CHARS = 64
#: Of the longest logins and devices that there are, this is some 300 KB.
MAX_PAGE = 200
DEFAULT_PAGE = 50


class AuditType(StrEnum):
    """What is recorded, by the names of the operations. `auth.verify` is not, nor is what only reads."""

    TENANT_REGISTER = "tenant.register"
    TENANT_LOGIN = "tenant.login"
    TENANT_LOGOUT = "tenant.logout"
    TENANT_UPDATE = "tenant.update"
    TENANT_DISABLE = "tenant.disable"
    TENANT_ENABLE = "tenant.enable"
    TENANT_DELETE = "tenant.delete"
    USER_CREATE = "user.create"
    USER_UPDATE = "user.update"
    USER_DELETE = "user.delete"
    AUTH_LOGIN = "auth.login"
    AUTH_LOGOUT = "auth.logout"
    SESSION_REVOKE = "session.revoke"
    SESSION_REVOKE_ALL = "session.revoke_all"
    TOKEN_REVOKE = "token.revoke"  # noqa: S105 - an operation's name


class AuditRecord(WireModel):
    id: str
    """The same each time the record is read."""
    at: Milliseconds
    type: str
    """The operation, as `auth.login`. There may be new ones."""
    outcome: str
    """`ok`, `invalid_credentials`, `throttled`, or `locked`: throttled until the account has a new password or is
    unlocked, since too many wrong ones in a row came from where it has not logged in. There may be new ones."""
    login: str | None
    """The user's, or `tenant:` and the tenant's email. Null where no account has it: people type passwords there."""
    session_id: str | None
    """Of the session that began or ended; null where that were many, or none."""
    device_id: str | None
    client_address: str | None
    """From where: as the edge saw it, or, at `auth.login`, as the tenant's product said. Null where nobody said."""
    service: str | None = None
    """The broker's user that sent the request past the edges; null for a request of an edge."""
    reason: str | None
    """Why sessions ended, if any did, as in their `session.revoked` events."""
    changed: tuple[str, ...]
    """Which members of a user were changed, not to what; and `unlock`."""
    by_operator: bool
    """Done with the registration key, not with the tenant's token."""
    request_id: str | None
    """`X-Request-ID` of the request, which finds it in the service's log."""
    attempts: int
    """How many refused attempts of that minute this record stands for; otherwise 1."""


class AuditListQuery(WireModel):
    type: Annotated[AuditType | None, OrAbsent()] = None
    """Records of this operation alone."""
    login: Annotated[Name | None, OrAbsent()] = None
    """Records of this login alone, as it is spelled or in Unicode form NFC."""
    since: Annotated[int, Field(ge=0, le=MAX_TIME)] = 0
    """Milliseconds since the epoch; records of then and later."""
    until: Annotated[int, Field(ge=0, le=MAX_TIME)] = MAX_TIME
    """Milliseconds since the epoch; records from before then."""
    cursor: Annotated[str, StringConstraints(max_length=MAX_CURSOR_CHARS)] = NO_CURSOR
    """`nextCursor` of the page before, or `0`."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE


class AuditListRequest(AuditListQuery, TenantRequest):
    pass


class AuditListReply(WireModel):
    records: tuple[AuditRecord, ...]
    next_cursor: str
    """`0` on the last page."""


AUDIT_LIST = Operation(
    "audit.list", Lane.MANAGE, AuditListRequest, AuditListReply, (InvalidTenantToken,), repeatable=True
)
