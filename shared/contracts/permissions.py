"""Permissions: what a credential allows. Each operation declares the one that it needs.

A tenant token has all permissions of its tenant. API keys, access tokens and operators have those that they were given.
Workers ignore permissions that they do not know, so a credential never allows more at an older worker.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field


class Permission(StrEnum):
    """The name of a permission: what it is about, and what it allows. Names never change their meaning."""

    AUTH_LOGIN = "auth:login"
    TOKENS_VERIFY = "tokens:verify"
    TOKENS_REVOKE = "tokens:revoke"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    SESSIONS_READ = "sessions:read"
    SESSIONS_REVOKE = "sessions:revoke"
    EVENTS_READ = "events:read"
    AUDIT_READ = "audit:read"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    TENANT_READ = "tenant:read"
    TENANT_WRITE = "tenant:write"
    TENANTS_READ = "tenants:read"
    TENANTS_WRITE = "tenants:write"
    OPERATORS_WRITE = "operators:write"


MEANINGS: dict[Permission, str] = {
    Permission.AUTH_LOGIN: "Log users in with their passwords.",
    Permission.TOKENS_VERIFY: "Verify and introspect users' tokens.",
    Permission.TOKENS_REVOKE: "Log users out and revoke tokens, given the users' tokens.",
    Permission.USERS_READ: "Read and search users.",
    Permission.USERS_WRITE: "Create, change and delete users.",
    Permission.SESSIONS_READ: "List a user's sessions.",
    Permission.SESSIONS_REVOKE: "Revoke one session or all sessions of a user.",
    Permission.EVENTS_READ: "Receive and list events.",
    Permission.AUDIT_READ: "Read the audit trail.",
    Permission.KEYS_READ: "List API keys, never their secrets.",
    Permission.KEYS_WRITE: "Create, rotate and revoke API keys with no more permissions than one's own.",
    Permission.TENANT_READ: "Read the tenant's settings.",
    Permission.TENANT_WRITE: "Change the tenant's settings.",
    Permission.TENANTS_READ: "List, search and read all tenants.",
    Permission.TENANTS_WRITE: "Disable, enable, delete, unlock and reset any tenant, and revoke its sessions.",
    Permission.OPERATORS_WRITE: "Give and take permissions of operators.",
}

#: Permissions that concern the whole installation. Only operators can have them.
INSTALLATION_PERMISSIONS = frozenset({Permission.TENANTS_READ, Permission.TENANTS_WRITE, Permission.OPERATORS_WRITE})
#: Permissions of a tenant token. API keys and access tokens have some of them.
TENANT_PERMISSIONS = frozenset(Permission) - INSTALLATION_PERMISSIONS
#: Permissions that an operator may have. An operator does not act as a tenant's product: it neither logs users in nor
#: verifies their tokens.
OPERATOR_PERMISSIONS = frozenset(Permission) - {
    Permission.AUTH_LOGIN,
    Permission.TOKENS_VERIFY,
    Permission.TOKENS_REVOKE,
}


def known_permissions(names: Collection[str]) -> frozenset[Permission]:
    """Return the permissions with these names, without names that this version does not know."""
    return frozenset(permission for permission in Permission if permission in names)


def _of_tenant(permissions: frozenset[Permission]) -> frozenset[Permission]:
    if wrong := sorted(permissions - TENANT_PERMISSIONS):
        raise ValueError(f"must not hold {', '.join(wrong)}, which only operators can have")
    return permissions


def _of_operator(permissions: frozenset[Permission]) -> frozenset[Permission]:
    if wrong := sorted(permissions - OPERATOR_PERMISSIONS):
        raise ValueError(f"must not hold {', '.join(wrong)}, which operators cannot have")
    return permissions


#: The permissions of an API key: at least one.
KeyPermissions = Annotated[
    frozenset[Permission],
    Field(min_length=1, json_schema_extra={"items": {"type": "string", "enum": sorted(TENANT_PERMISSIONS)}}),
    AfterValidator(_of_tenant),
]
#: The permissions of an operator. None of them: the user is no operator.
OperatorPermissions = Annotated[
    frozenset[Permission],
    Field(json_schema_extra={"items": {"type": "string", "enum": sorted(OPERATOR_PERMISSIONS)}}),
    AfterValidator(_of_operator),
]
