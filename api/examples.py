"""Example request and reply of each operation for the OpenAPI document. A test checks them against the contracts."""

from dataclasses import dataclass
from typing import Any

from shared.contracts.audit_list import AUDIT_LIST
from shared.contracts.audit_search import AUDIT_SEARCH
from shared.contracts.auth_login import AUTH_LOGIN
from shared.contracts.auth_logout import AUTH_LOGOUT
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.event_list import EVENT_LIST
from shared.contracts.key_create import KEY_CREATE
from shared.contracts.key_list import KEY_LIST
from shared.contracts.key_revoke import KEY_REVOKE
from shared.contracts.key_rotate import KEY_ROTATE
from shared.contracts.oauth_token import OAUTH_TOKEN
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

#: A placeholder, so that no secret scanner reports it.
TOKEN = "<JWT>"  # noqa: S105 - a placeholder
TENANT_ID = "6f1d8f0e2b7c4d3aa5b0c9e8"
USER_ID = "0b54c1de9a7f4e21b8d3f6a2"
SESSION_ID = "Zk3tq0bYQ2m8n1xVvJ5c7w"
KEY_ID = "0VfKe3RtQ8mLz2Xb9WsYcA"

USER = {
    "id": USER_ID,
    "login": "ada",
    "email": "ada@example.com",
    "tenant": TENANT_ID,
    "scope": "company:read",
    "sub": USER_ID,
    "registrationDate": 1_767_225_600_000,
    "lastActivity": 1_767_229_200_000,
}
OPERATOR = {
    "id": USER_ID,
    "login": "olga",
    "email": "olga@example.com",
    "permissions": ["audit:read", "users:read"],
}
TENANT = {
    "id": TENANT_ID,
    "email": "billing@example.com",
    "registeredAt": 1_767_225_600_000,
    "disabled": False,
    "users": {"value": 12, "exact": True, "at": 1_767_229_200_000},
    "sessions": {"value": 4_211, "exact": False, "at": 1_767_228_900_000},
}
RECORD = {
    "id": "5d8a0f3b6c1e49d7a2b4c6e8f0a1b3c5",
    "at": 1_767_229_200_000,
    "type": "auth.logout",
    "outcome": "ok",
    "login": "ada",
    "sessionId": SESSION_ID,
    "deviceId": "laptop",
    "clientAddress": "192.0.2.1",
    "reason": "logout",
    "changed": [],
    "byOperator": False,
    "requestId": "0c9a5f1e7b2d4a68",
    "attempts": 1,
}
USER_CLAIMS = {
    "iss": "jincor-auth",
    "aud": TENANT_ID,
    "sub": USER_ID,
    "iat": 1_767_225_600,
    "exp": 1_767_830_400,
    "jti": SESSION_ID,
    "id": USER_ID,
    "login": "ada",
    "tenant": TENANT_ID,
    "scope": "company:read",
    "deviceId": "laptop",
}
TENANT_CLAIMS = {
    "iss": "jincor-auth",
    "aud": "jincor-auth",
    "sub": TENANT_ID,
    "iat": 1_767_225_600,
    "exp": 1_767_830_400,
    "jti": SESSION_ID,
    "id": TENANT_ID,
    "login": "tenant:billing@example.com",
    "tenant": TENANT_ID,
    "isTenant": True,
}
REVOCATION = {
    "specversion": "1.0",
    "id": f"session.revoked:{SESSION_ID}",
    "source": "jincor-auth",
    "type": "com.jincor.auth.session.revoked",
    "subject": SESSION_ID,
    "time": "2026-01-01T01:00:00Z",
    "datacontenttype": "application/json",
    "data": {
        "sessionId": SESSION_ID,
        "tenant": TENANT_ID,
        "user": USER_ID,
        "login": "ada",
        "deviceId": "laptop",
        "reason": "logout",
        "event_timestamp": 1_767_229_200,
        "exp": 1_767_830_400,
    },
}
TENANT_CREDENTIALS = {"email": "billing@example.com", "password": "correct horse battery staple"}
DONE = {"result": 1}
API_KEY = {
    "id": KEY_ID,
    "name": "gateway",
    "permissions": ["tokens:verify"],
    "networks": ["10.0.0.0/8"],
    "createdAt": 1_767_225_600_000,
    "createdBy": "tenant:billing@example.com",
    "expiresAt": 1_798_761_600_000,
    "lastUsedAt": 1_767_229_200_000,
}
#: A placeholder, so that no secret scanner reports it.
API_KEY_TEXT = f"jak_{KEY_ID}…"


@dataclass(frozen=True, slots=True)
class Example:
    """Body of a request, if it has one, and the reply to it."""

    reply: dict[str, Any]
    body: dict[str, Any] | None = None


EXAMPLES: dict[str, Example] = {
    PRINCIPAL_GET.name: Example(
        reply={
            "credential": "api_key",
            "tenant": TENANT_ID,
            "sessionId": KEY_ID,
            "login": "gateway",
            "permissions": ["tokens:verify"],
            "exp": 1_798_761_600,
        }
    ),
    TENANT_REGISTER.name: Example(
        body=TENANT_CREDENTIALS,
        reply={"id": TENANT_ID, "email": "billing@example.com", "login": "tenant:billing@example.com", "token": TOKEN},
    ),
    TENANT_LOGIN.name: Example(body=TENANT_CREDENTIALS, reply={"token": TOKEN, "accessToken": TOKEN}),
    TENANT_VERIFY.name: Example(body={"token": TOKEN}, reply={"decoded": TENANT_CLAIMS}),
    TENANT_LOGOUT.name: Example(body={"token": TOKEN}, reply=DONE),
    TENANT_UPDATE.name: Example(
        body={"currentPassword": "correct horse battery staple", "password": "another horse, another staple"},
        reply={"token": TOKEN, "accessToken": TOKEN},
    ),
    TENANT_DISABLE.name: Example(body={"email": "billing@example.com"}, reply=DONE),
    TENANT_ENABLE.name: Example(body={"email": "billing@example.com"}, reply=DONE),
    TENANT_DELETE.name: Example(body={"password": "correct horse battery staple"}, reply=DONE),
    USER_CREATE.name: Example(
        body={
            "login": "ada",
            "email": "ada@example.com",
            "password": "correct horse battery staple",
            "scope": "company:read",
        },
        reply=USER,
    ),
    USER_GET.name: Example(reply=USER),
    USER_LIST.name: Example(reply={"users": [USER], "nextCursor": "0"}),
    USER_UPDATE.name: Example(body={"email": "ada@example.org"}, reply={**USER, "email": "ada@example.org"}),
    USER_DELETE.name: Example(reply=DONE),
    AUTH_LOGIN.name: Example(
        body={"login": "ada", "password": "correct horse battery staple", "deviceId": "laptop"},
        reply={"accessToken": TOKEN},
    ),
    AUTH_VERIFY.name: Example(body={"token": TOKEN}, reply={"decoded": USER_CLAIMS}),
    AUTH_LOGOUT.name: Example(body={"token": TOKEN}, reply=DONE),
    TOKEN_INTROSPECT.name: Example(
        body={"token": TOKEN},
        reply={
            "active": True,
            "scope": "company:read",
            "client_id": TENANT_ID,
            "username": "ada",
            "token_type": "Bearer",
            "exp": 1_767_830_400,
            "iat": 1_767_225_600,
            "sub": USER_ID,
            "aud": TENANT_ID,
            "iss": "jincor-auth",
            "jti": SESSION_ID,
        },
    ),
    TOKEN_REVOKE.name: Example(body={"token": TOKEN}, reply=DONE),
    SESSION_LIST.name: Example(
        reply={
            "sessions": [
                {
                    "id": SESSION_ID,
                    "deviceId": "laptop",
                    "issuedDate": 1_767_225_600_000,
                    "expirationDate": 1_767_830_400_000,
                }
            ]
        }
    ),
    SESSION_REVOKE.name: Example(reply=DONE),
    SESSION_REVOKE_ALL.name: Example(reply=DONE),
    AUDIT_LIST.name: Example(reply={"records": [RECORD], "nextCursor": "0"}),
    EVENT_LIST.name: Example(reply={"events": [REVOCATION], "nextCursor": "0", "asOf": 1_767_229_260}),
    TENANT_LIST.name: Example(reply={"tenants": [TENANT], "nextCursor": "0"}),
    TENANT_GET.name: Example(reply=TENANT),
    TENANT_REVOKE_SESSIONS.name: Example(reply=DONE),
    TENANT_RESET.name: Example(reply={"code": "<CODE>", "expiresAt": 1_767_232_800_000}),
    TENANT_COMPLETE_RESET.name: Example(
        body={"email": "billing@example.com", "code": "<CODE>", "password": "another horse, another staple"},
        reply=DONE,
    ),
    USER_SEARCH.name: Example(reply={"users": [USER], "nextCursor": "0"}),
    AUDIT_SEARCH.name: Example(reply={"records": [{**RECORD, "tenant": TENANT_ID}], "nextCursor": "0"}),
    SETTINGS_GET.name: Example(reply={"maxKeyLifetimeDays": 90}),
    SETTINGS_UPDATE.name: Example(body={"maxKeyLifetimeDays": 90}, reply={"maxKeyLifetimeDays": 90}),
    KEY_CREATE.name: Example(
        body={"name": "gateway", "permissions": ["tokens:verify"], "networks": ["10.0.0.0/8"]},
        reply={"key": API_KEY, "apiKey": API_KEY_TEXT},
    ),
    KEY_LIST.name: Example(reply={"keys": [API_KEY]}),
    KEY_ROTATE.name: Example(body={"overlapSeconds": 86_400}, reply={"key": API_KEY, "apiKey": API_KEY_TEXT}),
    KEY_REVOKE.name: Example(reply=DONE),
    OAUTH_TOKEN.name: Example(
        body={
            "grant_type": "client_credentials",
            "client_id": KEY_ID,
            "client_secret": API_KEY_TEXT,
            "scope": "users:read",
        },
        reply={"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3_600, "scope": "users:read"},
    ),
    OPERATOR_LOGIN.name: Example(
        body={"login": "olga", "password": "correct horse battery staple", "deviceId": "laptop"},
        reply={"accessToken": TOKEN},
    ),
    OPERATOR_LOGOUT.name: Example(reply=DONE),
    OPERATOR_SET_PASSWORD.name: Example(
        body={"currentPassword": "correct horse battery staple", "password": "another horse, another staple"},
        reply=DONE,
    ),
    OPERATOR_LIST.name: Example(reply={"operators": [OPERATOR]}),
    OPERATOR_UPDATE.name: Example(body={"permissions": OPERATOR["permissions"]}, reply=OPERATOR),
}
