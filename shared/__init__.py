"""Code that the edge, the workers and clients share: contracts, AMQP transport and the client
library.

Other services install it as `jincor_auth_client` and import these names from there; see `client/`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .contracts.audit_list import AuditListReply, AuditRecord, AuditType
from .contracts.claims import Claims
from .contracts.errors import (
    AuthError,
    BadRequest,
    DeadlineExceeded,
    EmailTaken,
    ErrorCode,
    ErrorReply,
    FieldProblem,
    Forbidden,
    InternalError,
    InvalidCredentials,
    InvalidRequest,
    InvalidScope,
    InvalidTenantToken,
    InvalidToken,
    KeyLimitReached,
    KeyNotFound,
    LoginTaken,
    Overloaded,
    RegistrationForbidden,
    ServiceCredentialsRejected,
    SessionNotFound,
    Temporary,
    TenantNotFound,
    Throttled,
    Unavailable,
    UnsupportedTokenType,
    UserNotFound,
)
from .contracts.events import RevocationReason, SessionRevoked, SessionRevokedEvent
from .contracts.key import ApiKey, IssuedKey
from .contracts.permissions import Permission
from .contracts.principal_get import CredentialKind, PrincipalGetReply
from .contracts.session_list import Session
from .contracts.tenant_register import TenantRegisterReply
from .contracts.token_introspect import TokenIntrospectReply
from .contracts.user import User
from .contracts.user_list import UserListReply
from .contracts.wire import Scope

if TYPE_CHECKING:
    from .client.accounts import UNCHANGED, ApiKeys, TenantAccount, Unchanged, UserAccounts, UserSessions
    from .client.auth_client import AuthClient
    from .client.cached_verifier import CachedVerifier, VerificationCounts
    from .client.scopes import granted

__all__ = [
    "UNCHANGED",
    "ApiKey",
    "ApiKeys",
    "AuditListReply",
    "AuditRecord",
    "AuditType",
    "AuthClient",
    "AuthError",
    "BadRequest",
    "CachedVerifier",
    "Claims",
    "CredentialKind",
    "DeadlineExceeded",
    "EmailTaken",
    "ErrorCode",
    "ErrorReply",
    "FieldProblem",
    "Forbidden",
    "InternalError",
    "InvalidCredentials",
    "InvalidRequest",
    "InvalidScope",
    "InvalidTenantToken",
    "InvalidToken",
    "IssuedKey",
    "KeyLimitReached",
    "KeyNotFound",
    "LoginTaken",
    "Overloaded",
    "Permission",
    "PrincipalGetReply",
    "RegistrationForbidden",
    "RevocationReason",
    "Scope",
    "ServiceCredentialsRejected",
    "Session",
    "SessionNotFound",
    "SessionRevoked",
    "SessionRevokedEvent",
    "Temporary",
    "TenantAccount",
    "TenantNotFound",
    "TenantRegisterReply",
    "Throttled",
    "TokenIntrospectReply",
    "Unavailable",
    "Unchanged",
    "UnsupportedTokenType",
    "User",
    "UserAccounts",
    "UserListReply",
    "UserNotFound",
    "UserSessions",
    "VerificationCounts",
    "granted",
]

#: Version of the repository and of the distribution `jincor-auth-client`.
__version__ = "2.0.0.dev0"

#: Names that are imported at first use, because they need aio-pika and the contracts do not.
_IMPORTED_ON_USE = {
    "UNCHANGED": ".client.accounts",
    "ApiKeys": ".client.accounts",
    "AuthClient": ".client.auth_client",
    "CachedVerifier": ".client.cached_verifier",
    "TenantAccount": ".client.accounts",
    "Unchanged": ".client.accounts",
    "UserAccounts": ".client.accounts",
    "UserSessions": ".client.accounts",
    "VerificationCounts": ".client.cached_verifier",
    "granted": ".client.scopes",
}


def __getattr__(name: str) -> object:
    """Import one of the client's names (PEP 562). Raises `AttributeError` for any other name."""
    if name not in _IMPORTED_ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_IMPORTED_ON_USE[name], __name__), name)
    return value
