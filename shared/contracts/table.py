"""The table of operations, without the health checks, and without `audit.list` and `audit.search`, whose
contracts name the audited ones."""

from typing import Any

from .auth_login import AUTH_LOGIN
from .auth_logout import AUTH_LOGOUT
from .auth_verify import AUTH_VERIFY
from .event_list import EVENT_LIST
from .key_create import KEY_CREATE
from .key_list import KEY_LIST
from .key_revoke import KEY_REVOKE
from .key_rotate import KEY_ROTATE
from .oauth_token import OAUTH_TOKEN
from .operation import Operation
from .operator_list import OPERATOR_LIST
from .operator_login import OPERATOR_LOGIN
from .operator_logout import OPERATOR_LOGOUT
from .operator_set_password import OPERATOR_SET_PASSWORD
from .operator_update import OPERATOR_UPDATE
from .principal_get import PRINCIPAL_GET
from .session_list import SESSION_LIST
from .session_revoke import SESSION_REVOKE
from .session_revoke_all import SESSION_REVOKE_ALL
from .settings_get import SETTINGS_GET
from .settings_update import SETTINGS_UPDATE
from .tenant_complete_reset import TENANT_COMPLETE_RESET
from .tenant_delete import TENANT_DELETE
from .tenant_disable import TENANT_DISABLE
from .tenant_enable import TENANT_ENABLE
from .tenant_get import TENANT_GET
from .tenant_list import TENANT_LIST
from .tenant_login import TENANT_LOGIN
from .tenant_logout import TENANT_LOGOUT
from .tenant_register import TENANT_REGISTER
from .tenant_reset import TENANT_RESET
from .tenant_revoke_sessions import TENANT_REVOKE_SESSIONS
from .tenant_update import TENANT_UPDATE
from .tenant_verify import TENANT_VERIFY
from .token_introspect import TOKEN_INTROSPECT
from .token_revoke import TOKEN_REVOKE
from .user_create import USER_CREATE
from .user_delete import USER_DELETE
from .user_get import USER_GET
from .user_list import USER_LIST
from .user_search import USER_SEARCH
from .user_update import USER_UPDATE

TABLE: tuple[Operation[Any, Any], ...] = (
    PRINCIPAL_GET,
    TENANT_REGISTER,
    TENANT_LOGIN,
    TENANT_VERIFY,
    TENANT_LOGOUT,
    TENANT_UPDATE,
    TENANT_DISABLE,
    TENANT_ENABLE,
    TENANT_DELETE,
    USER_CREATE,
    USER_GET,
    USER_LIST,
    USER_UPDATE,
    USER_DELETE,
    AUTH_LOGIN,
    AUTH_VERIFY,
    AUTH_LOGOUT,
    SESSION_LIST,
    SESSION_REVOKE,
    SESSION_REVOKE_ALL,
    EVENT_LIST,
    TOKEN_INTROSPECT,
    TOKEN_REVOKE,
    TENANT_LIST,
    TENANT_GET,
    TENANT_REVOKE_SESSIONS,
    TENANT_RESET,
    TENANT_COMPLETE_RESET,
    USER_SEARCH,
    SETTINGS_GET,
    SETTINGS_UPDATE,
    KEY_CREATE,
    KEY_LIST,
    KEY_ROTATE,
    KEY_REVOKE,
    OAUTH_TOKEN,
    OPERATOR_LOGIN,
    OPERATOR_LOGOUT,
    OPERATOR_SET_PASSWORD,
    OPERATOR_LIST,
    OPERATOR_UPDATE,
)
