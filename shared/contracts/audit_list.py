"""audit.list: list the tenant's audit records, newest first, one page at a time.

Only the tenant can read its audit trail. A record holds names and addresses, never a password, a
token or another secret. The worker writes the record of a change before it replies. Records of
refused attempts follow some seconds later.
"""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from .errors import Forbidden, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .table import TABLE
from .user_list import NO_CURSOR
from .wire import Milliseconds, Name, OrAbsent, WireModel

#: Milliseconds since the epoch at the end of the year 9999, the last year that dates can express.
MAX_TIME = 253_402_300_799_999
#: A cursor holds a time and the id of a record.
MAX_AUDIT_CURSOR_CHARS = 64
#: A page with the longest possible logins and device ids is about 300 KB.
MAX_RECORDS_PER_PAGE = 200
RECORDS_PER_PAGE = 50


#: The names of the audited operations.
AUDITED = tuple(operation.name for operation in TABLE if operation.audited)


def _audited(name: str) -> str:
    if name not in AUDITED:
        raise ValueError(f"must be the name of an audited operation: {', '.join(AUDITED)}")
    return name


AuditType = Annotated[str, AfterValidator(_audited), WithJsonSchema({"type": "string", "enum": list(AUDITED)})]


class AuditRecord(WireModel):
    id: str
    """Stable id of the record: the same at every read."""
    at: Milliseconds
    type: str
    """The name of the operation, such as `auth.login`. New values may be added."""
    outcome: str
    """One of `ok`, `invalid_credentials`, `throttled` or `locked`. `locked` means that too many
    wrong passwords in a row came from places where the account has not logged in. Such attempts are
    throttled until the account gets a new password or is unlocked. New values may be added."""
    login: str | None
    """The login of the user, or `tenant:` and the email of the tenant. Null if no account has the
    login that was typed, because people sometimes type a password there."""
    session_id: str | None
    """The id of the session that was opened or ended; null if there were several, or none."""
    device_id: str | None
    client_address: str | None
    """The client's IP address, as the edge saw it; for `auth.login`, as the tenant's product gave
    it. Null if it is unknown."""
    service: str | None = None
    """The broker user that sent the request directly over AMQP; null for a request from an edge."""
    reason: str | None
    """Why sessions were revoked, as in their `session.revoked` events; null if none were."""
    changed: tuple[str, ...]
    """The names of the user's members that changed, without their values; may include `unlock`."""
    by_operator: bool
    """Whether the caller used the registration key instead of the tenant's token."""
    actor: str | None = None
    """The sender of the request: `key:` and the id of an API key, `client:` and the id of the key that an access token
    was issued to, or `operator:` and the operator's login. Null: the tenant itself, with its own token or password. New
    kinds may be added."""
    on_tenant: str | None = None
    """In the trail of the operators' tenant: the id of the other tenant that an operator acted on. That tenant's trail
    has a record, too."""
    request_id: str | None
    """`X-Request-ID` of the request. The service's log has the same id."""
    attempts: int
    """The number of refused attempts within one minute that this record counts; 1 for other
    records."""


class AuditListQuery(WireModel):
    type: Annotated[AuditType | None, OrAbsent()] = None
    """Return only records of this operation."""
    login: Annotated[Name | None, OrAbsent()] = None
    """Return only records of this login, as given or in Unicode form NFC."""
    since: Annotated[int, Field(ge=0, le=MAX_TIME)] = 0
    """Milliseconds since the epoch. Return records of this time and later."""
    until: Annotated[int, Field(ge=0, le=MAX_TIME)] = MAX_TIME
    """Milliseconds since the epoch. Return records before this time."""
    cursor: Annotated[str, StringConstraints(max_length=MAX_AUDIT_CURSOR_CHARS)] = NO_CURSOR
    """`nextCursor` of the previous page; `0` for the first page."""
    limit: Annotated[int, Field(ge=1, le=MAX_RECORDS_PER_PAGE)] = RECORDS_PER_PAGE


class AuditListRequest(AuditListQuery, TenantRequest):
    pass


class AuditListReply(WireModel):
    records: tuple[AuditRecord, ...]
    next_cursor: str
    """The cursor of the next page; `0` on the last page."""


AUDIT_LIST = Operation(
    "audit.list",
    Lane.MANAGE,
    AuditListRequest,
    AuditListReply,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
    permission=Permission.AUDIT_READ,
)
