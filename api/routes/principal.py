"""Route of the caller's own credential."""

from fastapi import APIRouter, Response

from api.dependencies import AuthenticatedOnTenant, Workers
from api.messages import to_response
from api.openapi import documented
from shared.contracts.principal_get import PRINCIPAL_GET, PrincipalGetRequest

router = APIRouter(tags=["Credentials"])


@router.get("/principal", **documented(PRINCIPAL_GET))
async def get_principal(caller: AuthenticatedOnTenant, workers: Workers) -> Response:
    """Return who the credential of this request stands for, and its permissions."""
    reply = await workers.call(PRINCIPAL_GET, PrincipalGetRequest(**caller))
    return to_response(reply)
