"""Routes of operators that search the users and the audit trails of all tenants."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dependencies import Authenticated, Workers
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.audit_search import AUDIT_SEARCH, AuditSearchQuery, AuditSearchRequest
from shared.contracts.user_search import USER_SEARCH, UserSearchQuery, UserSearchRequest

router = APIRouter(tags=["Operators"])


@router.get("/users", **documented(USER_SEARCH))
async def search_users(query: Annotated[UserSearchQuery, Query()], caller: Authenticated, workers: Workers) -> Response:
    """Find the users of all tenants whose login or email is `q`, in pages."""
    reply = await workers.call(USER_SEARCH, to_request(UserSearchRequest, query, **caller))
    return to_response(reply)


@router.get("/audit/search", **documented(AUDIT_SEARCH))
async def search_audit_records(
    query: Annotated[AuditSearchQuery, Query()], caller: Authenticated, workers: Workers
) -> Response:
    """Find the audit records of a login in the trails of all tenants that have it, newest first, in pages."""
    reply = await workers.call(AUDIT_SEARCH, to_request(AuditSearchRequest, query, **caller))
    return to_response(reply)
