"""The operations: one function per file, and the table of their handlers."""

import functools
from typing import Any

from shared.contracts.audit_list import AUDIT_LIST
from shared.contracts.audit_search import AUDIT_SEARCH
from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.event_list import EVENT_LIST
from shared.contracts.health import HEALTH
from shared.contracts.key_create import KEY_CREATE
from shared.contracts.key_list import KEY_LIST
from shared.contracts.key_revoke import KEY_REVOKE
from shared.contracts.key_rotate import KEY_ROTATE
from shared.contracts.oauth_token import OAUTH_TOKEN
from shared.contracts.operation import Lane, Operation
from shared.contracts.operator_list import OPERATOR_LIST
from shared.contracts.operator_login import OPERATOR_LOGIN
from shared.contracts.operator_logout import OPERATOR_LOGOUT
from shared.contracts.operator_set_password import OPERATOR_SET_PASSWORD
from shared.contracts.operator_update import OPERATOR_UPDATE
from shared.contracts.principal_get import PRINCIPAL_GET
from shared.contracts.session_list import SESSION_LIST
from shared.contracts.session_revoke import SESSION_REVOKE
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL
from shared.contracts.settings_get import SETTINGS_GET
from shared.contracts.settings_update import SETTINGS_UPDATE
from shared.contracts.tenant_complete_reset import TENANT_COMPLETE_RESET
from shared.contracts.tenant_delete import TENANT_DELETE
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_get import TENANT_GET
from shared.contracts.tenant_list import TENANT_LIST
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.tenant_reset import TENANT_RESET
from shared.contracts.tenant_revoke_sessions import TENANT_REVOKE_SESSIONS
from shared.contracts.tenant_update import TENANT_UPDATE
from shared.contracts.tenant_verify import TENANT_VERIFY
from shared.contracts.token_introspect import TOKEN_INTROSPECT
from shared.contracts.token_revoke import TOKEN_REVOKE
from shared.contracts.user_create import USER_CREATE
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_get import USER_GET
from shared.contracts.user_list import USER_LIST
from shared.contracts.user_search import USER_SEARCH
from shared.contracts.user_update import USER_UPDATE
from shared.contracts.wire import WireModel
from worker.domain.audit import Handler, with_audit_record
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.operations.audit_list import audit_list
from worker.operations.audit_search import audit_search
from worker.operations.auth_login import auth_login
from worker.operations.auth_logout import auth_logout
from worker.operations.auth_verify import auth_verify
from worker.operations.event_list import event_list
from worker.operations.health import health
from worker.operations.key_create import key_create
from worker.operations.key_list import key_list
from worker.operations.key_revoke import key_revoke
from worker.operations.key_rotate import key_rotate
from worker.operations.oauth_token import oauth_token
from worker.operations.operator_list import operator_list
from worker.operations.operator_login import operator_login
from worker.operations.operator_logout import operator_logout
from worker.operations.operator_set_password import operator_set_password
from worker.operations.operator_update import operator_update
from worker.operations.principal_get import principal_get
from worker.operations.session_list import session_list
from worker.operations.session_revoke import session_revoke
from worker.operations.session_revoke_all import session_revoke_all
from worker.operations.settings_get import settings_get
from worker.operations.settings_update import settings_update
from worker.operations.tenant_complete_reset import tenant_complete_reset
from worker.operations.tenant_delete import tenant_delete
from worker.operations.tenant_disable import tenant_disable
from worker.operations.tenant_enable import tenant_enable
from worker.operations.tenant_get import tenant_get
from worker.operations.tenant_list import tenant_list
from worker.operations.tenant_login import tenant_login
from worker.operations.tenant_logout import tenant_logout
from worker.operations.tenant_register import tenant_register
from worker.operations.tenant_reset import tenant_reset
from worker.operations.tenant_revoke_sessions import tenant_revoke_sessions
from worker.operations.tenant_update import tenant_update
from worker.operations.tenant_verify import tenant_verify
from worker.operations.token_introspect import token_introspect
from worker.operations.token_revoke import token_revoke
from worker.operations.user_create import user_create
from worker.operations.user_delete import user_delete
from worker.operations.user_get import user_get
from worker.operations.user_list import user_list
from worker.operations.user_search import user_search
from worker.operations.user_update import user_update

__all__ = ["HANDLERS", "Handler"]

_TABLE: tuple[tuple[Operation[Any, Any], Handler], ...] = (
    (PRINCIPAL_GET, principal_get),
    (TENANT_REGISTER, tenant_register),
    (TENANT_LOGIN, tenant_login),
    (TENANT_VERIFY, tenant_verify),
    (TENANT_LOGOUT, tenant_logout),
    (TENANT_UPDATE, tenant_update),
    (TENANT_DISABLE, tenant_disable),
    (TENANT_ENABLE, tenant_enable),
    (TENANT_DELETE, tenant_delete),
    (USER_CREATE, user_create),
    (USER_GET, user_get),
    (USER_LIST, user_list),
    (USER_UPDATE, user_update),
    (USER_DELETE, user_delete),
    (AUTH_LOGIN, auth_login),
    (AUTH_VERIFY, auth_verify),
    (AUTH_LOGOUT, auth_logout),
    (SESSION_LIST, session_list),
    (SESSION_REVOKE, session_revoke),
    (SESSION_REVOKE_ALL, session_revoke_all),
    (EVENT_LIST, event_list),
    (AUDIT_LIST, audit_list),
    (TOKEN_INTROSPECT, token_introspect),
    (TOKEN_REVOKE, token_revoke),
    (TENANT_LIST, tenant_list),
    (TENANT_GET, tenant_get),
    (TENANT_REVOKE_SESSIONS, tenant_revoke_sessions),
    (TENANT_RESET, tenant_reset),
    (TENANT_COMPLETE_RESET, tenant_complete_reset),
    (USER_SEARCH, user_search),
    (AUDIT_SEARCH, audit_search),
    (SETTINGS_GET, settings_get),
    (SETTINGS_UPDATE, settings_update),
    (KEY_CREATE, key_create),
    (KEY_LIST, key_list),
    (KEY_ROTATE, key_rotate),
    (KEY_REVOKE, key_revoke),
    (OAUTH_TOKEN, oauth_token),
    (OPERATOR_LOGIN, operator_login),
    (OPERATOR_LOGOUT, operator_logout),
    (OPERATOR_SET_PASSWORD, operator_set_password),
    (OPERATOR_LIST, operator_list),
    (OPERATOR_UPDATE, operator_update),
    *((operation, health) for operation in HEALTH.values()),
)


def _ending_turn(operation: Operation[Any, Any], handler: Handler) -> Handler:
    """Return a handler that ends its turn on the password lane, or the handler itself on other lanes."""
    if operation.lane is not Lane.PASSWORD:
        return handler

    @functools.wraps(handler)
    async def handle(request: Any, call: Call, ports: Ports) -> WireModel:
        try:
            return await handler(request, call, ports)
        finally:
            ports.turns.leave()

    return handle


#: The handler of each operation, by the operation's name.
HANDLERS: dict[str, Handler] = {
    operation.name: with_audit_record(operation, _ending_turn(operation, handler)) for operation, handler in _TABLE
}
