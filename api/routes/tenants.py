"""Routes of operators over all tenants: list, get, disable, enable, delete, revoke sessions, reset."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from api.dependencies import Authenticated, OperatorCaller, OperatorOnTenant, Workers
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.tenant_delete import TENANT_DELETE, TenantDeleteRequest
from shared.contracts.tenant_disable import TENANT_DISABLE, TenantDisableRequest
from shared.contracts.tenant_enable import TENANT_ENABLE, TenantEnableRequest
from shared.contracts.tenant_get import TENANT_GET, TenantGetRequest
from shared.contracts.tenant_list import TENANT_LIST, TenantListQuery, TenantListRequest
from shared.contracts.tenant_reset import TENANT_RESET, TenantResetRequest
from shared.contracts.tenant_revoke_sessions import (
    TENANT_REVOKE_SESSIONS,
    TenantRevokeSessionsQuery,
    TenantRevokeSessionsRequest,
)

router = APIRouter(prefix="/tenants", tags=["Operators"])


def _proof(caller: OperatorCaller) -> dict[str, Any]:
    """Return the operator's proof of its authority over the tenant."""
    address = caller.get("caller_address")
    return {"tenant_token": caller["tenant_token"], "on_tenant": caller["on_tenant"], "client_address": address}


@router.get("", **documented(TENANT_LIST))
async def list_tenants(query: Annotated[TenantListQuery, Query()], caller: Authenticated, workers: Workers) -> Response:
    """List tenants by email, in pages: all, or those whose email contains `q`."""
    reply = await workers.call(TENANT_LIST, to_request(TenantListRequest, query, **caller))
    return to_response(reply)


@router.get("/{id}", **documented(TENANT_GET))
async def get_tenant(caller: OperatorOnTenant, workers: Workers) -> Response:
    """Return one tenant."""
    reply = await workers.call(TENANT_GET, TenantGetRequest(**caller))
    return to_response(reply)


@router.post("/{id}/disable", **documented(TENANT_DISABLE, by_operator=True))
async def disable_tenant_as_operator(caller: OperatorOnTenant, workers: Workers) -> Response:
    """Revoke every session of the tenant and of its users, and refuse its logins until it is enabled."""
    reply = await workers.call(TENANT_DISABLE, TenantDisableRequest(**_proof(caller)))
    return to_response(reply)


@router.post("/{id}/enable", **documented(TENANT_ENABLE, by_operator=True))
async def enable_tenant_as_operator(caller: OperatorOnTenant, workers: Workers) -> Response:
    """Enable a tenant that was disabled, or locked after too many failed logins in a row."""
    reply = await workers.call(TENANT_ENABLE, TenantEnableRequest(**_proof(caller)))
    return to_response(reply)


@router.post("/{id}/delete", **documented(TENANT_DELETE, by_operator=True))
async def delete_tenant_as_operator(caller: OperatorOnTenant, workers: Workers) -> Response:
    """Delete the tenant and its users, and revoke all their sessions."""
    reply = await workers.call(TENANT_DELETE, TenantDeleteRequest(**_proof(caller)))
    return to_response(reply)


@router.delete("/{id}/sessions", **documented(TENANT_REVOKE_SESSIONS))
async def revoke_sessions_of_tenant(
    query: Annotated[TenantRevokeSessionsQuery, Query()], caller: OperatorOnTenant, workers: Workers
) -> Response:
    """Revoke every session of the tenant and of its users. Its API keys stay valid unless `revokeKeys` is true."""
    request = to_request(TenantRevokeSessionsRequest, query, **caller)
    reply = await workers.call(TENANT_REVOKE_SESSIONS, request)
    return to_response(reply)


@router.post("/{id}/reset", **documented(TENANT_RESET))
async def reset_tenant(caller: OperatorOnTenant, workers: Workers) -> Response:
    """Return a code for `POST /tenant/reset`, with which the tenant can set a new password within an hour.

    The code works once. A later code replaces it, and a new password voids it.
    """
    reply = await workers.call(TENANT_RESET, TenantResetRequest(**caller))
    return to_response(reply)
