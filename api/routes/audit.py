"""A tenant's audit trail."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dependencies import TenantToken, Workers
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.audit_list import AUDIT_LIST, AuditListQuery, AuditListRequest

router = APIRouter(tags=["Audit"])


@router.get("/audit", **documented(AUDIT_LIST))
async def list_audit_records(
    query: Annotated[AuditListQuery, Query()], tenant_token: TenantToken, workers: Workers
) -> Response:
    """Lists what was done with the tenant's accounts, and tried, page by page, the newest first: logins that were
    right, wrong or throttled, changes of users and of the tenant, and what ended sessions."""
    request = to_request(AuditListRequest, query, tenant_token=tenant_token)
    reply = await workers.call(AUDIT_LIST, request)
    return to_response(reply)
