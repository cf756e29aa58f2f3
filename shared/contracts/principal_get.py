"""principal.get: return whose credential the caller uses, and its permissions. Any live credential may ask."""

from enum import StrEnum

from .errors import Forbidden, InvalidTenantToken
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .wire import WireModel


class CredentialKind(StrEnum):
    """The kinds of credentials that authenticate a request."""

    TENANT_TOKEN = "tenant_token"  # noqa: S105 - a kind, not a token
    API_KEY = "api_key"
    ACCESS_TOKEN = "access_token"  # noqa: S105 - a kind, not a token
    OPERATOR_TOKEN = "operator_token"  # noqa: S105 - a kind, not a token


class PrincipalGetRequest(TenantRequest):
    pass


class PrincipalGetReply(WireModel):
    credential: CredentialKind
    tenant: str
    """The id of the tenant that the credential belongs to, or that an operator acts on."""
    session_id: str
    """The id of the credential's session. For an API key and its access tokens: the id of the key."""
    login: str
    """The tenant's or the operator's login, or the name of the API key."""
    permissions: tuple[Permission | str, ...]
    """In alphabetical order. A newer worker may send names that are not in this list."""
    exp: int
    """When the credential expires, in seconds since the epoch."""


PRINCIPAL_GET = Operation(
    "principal.get",
    Lane.VERIFY,
    PrincipalGetRequest,
    PrincipalGetReply,
    (InvalidTenantToken, Forbidden),
    repeatable=True,
)
