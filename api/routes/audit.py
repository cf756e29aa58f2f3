"""Route of a tenant's audit trail."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dependencies import AuthenticatedOnTenant, Workers
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.audit_list import AUDIT_LIST, AuditListQuery, AuditListRequest

router = APIRouter(tags=["Audit"])


@router.get("/audit", **documented(AUDIT_LIST))
async def list_audit_records(
    query: Annotated[AuditListQuery, Query()], caller: AuthenticatedOnTenant, workers: Workers
) -> Response:
    """List the tenant's audit records, newest first, in pages.

    Records cover successful, failed and throttled logins, changes to users and to the tenant, and revocations.
    """
    request = to_request(AuditListRequest, query, **caller)
    reply = await workers.call(AUDIT_LIST, request)
    return to_response(reply)
