"""Tenants: registration, login, and the fate of their tokens."""

from fastapi import APIRouter, Response

from api.bodies import JsonBodyRoute
from api.dependencies import ClientAddress, RegistrationKey, Workers
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.tenant_login import TENANT_LOGIN, TenantLoginBody, TenantLoginRequest
from shared.contracts.tenant_logout import TENANT_LOGOUT, TenantLogoutRequest
from shared.contracts.tenant_register import TENANT_REGISTER, TenantRegisterBody, TenantRegisterRequest
from shared.contracts.tenant_verify import TENANT_VERIFY, TenantVerifyRequest

router = APIRouter(prefix="/tenant", tags=["Tenants"], route_class=JsonBodyRoute)


@router.post("", **documented(TENANT_REGISTER))
async def register_tenant(
    body: TenantRegisterBody,
    workers: Workers,
    client_address: ClientAddress,
    registration_key: RegistrationKey = None,
) -> Response:
    """Registers a tenant and logs it in. Allowed from certain networks, or with the registration key."""
    request = to_request(TenantRegisterRequest, body, client_address=client_address, registration_key=registration_key)
    reply = await workers.call(TENANT_REGISTER, request)
    return to_response(reply)


@router.post("/login", **documented(TENANT_LOGIN))
async def log_in_tenant(body: TenantLoginBody, workers: Workers, client_address: ClientAddress) -> Response:
    """Exchanges a tenant's email and password for a tenant token. After too many wrong ones: 429."""
    request = to_request(TenantLoginRequest, body, client_address=client_address)
    reply = await workers.call(TENANT_LOGIN, request)
    return to_response(reply)


@router.post("/verify", **documented(TENANT_VERIFY))
async def verify_tenant(body: TenantVerifyRequest, workers: Workers) -> Response:
    """Tells whether a tenant token is alive, and what it says."""
    reply = await workers.call(TENANT_VERIFY, body)
    return to_response(reply)


@router.post("/logout", **documented(TENANT_LOGOUT))
async def log_out_tenant(body: TenantLogoutRequest, workers: Workers) -> Response:
    """Ends the session of a tenant token. Nobody accepts it afterwards."""
    reply = await workers.call(TENANT_LOGOUT, body)
    return to_response(reply)
