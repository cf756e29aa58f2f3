"""What the edge, the workers and every client agree on: contracts, and how they travel over AMQP.

Other services install it as `jincor_auth_client` and import these names from there; see `client/`.
"""

from .client.auth_client import AuthClient
from .client.cached_verifier import CachedVerifier
from .client.scopes import granted
from .contracts.claims import Claims
from .contracts.errors import (
    AuthError,
    BadRequest,
    DeadlineExceeded,
    EmailTaken,
    ErrorCode,
    FieldProblem,
    InternalError,
    InvalidCredentials,
    InvalidRequest,
    InvalidTenantToken,
    InvalidToken,
    LoginTaken,
    Overloaded,
    RegistrationForbidden,
    SessionNotFound,
    Temporary,
    TenantNotFound,
    Throttled,
    Unavailable,
    UserNotFound,
)
from .contracts.events import RevocationReason, SessionRevoked, SessionRevokedEvent
from .contracts.session_list import Session
from .contracts.tenant_register import TenantRegisterReply
from .contracts.token_introspect import TokenIntrospectReply
from .contracts.user import User
from .contracts.user_list import UserListReply

__all__ = [
    "AuthClient",
    "AuthError",
    "BadRequest",
    "CachedVerifier",
    "Claims",
    "DeadlineExceeded",
    "EmailTaken",
    "ErrorCode",
    "FieldProblem",
    "InternalError",
    "InvalidCredentials",
    "InvalidRequest",
    "InvalidTenantToken",
    "InvalidToken",
    "LoginTaken",
    "Overloaded",
    "RegistrationForbidden",
    "RevocationReason",
    "Session",
    "SessionNotFound",
    "SessionRevoked",
    "SessionRevokedEvent",
    "Temporary",
    "TenantNotFound",
    "TenantRegisterReply",
    "Throttled",
    "TokenIntrospectReply",
    "Unavailable",
    "User",
    "UserListReply",
    "UserNotFound",
    "granted",
]

#: Of the whole repository, and of the distribution that `client/` makes.
__version__ = "2.0.0.dev0"
