"""Routes of tenants: registration, login, tokens, update, disable, enable and delete."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.bodies import JsonBodyRoute
from api.dependencies import (
    Authenticated,
    OptionalTenantToken,
    RegistrationKey,
    RequiredRegistrationKey,
    SourceAddress,
    Workers,
)
from api.errors import MissingTenantToken
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.authority import AuthorityBody
from shared.contracts.tenant_complete_reset import (
    TENANT_COMPLETE_RESET,
    TenantCompleteResetBody,
    TenantCompleteResetRequest,
)
from shared.contracts.tenant_delete import TENANT_DELETE, TenantDeleteRequest
from shared.contracts.tenant_disable import TENANT_DISABLE, TenantDisableRequest
from shared.contracts.tenant_enable import TENANT_ENABLE, TenantEnableBody, TenantEnableRequest
from shared.contracts.tenant_login import TENANT_LOGIN, TenantLoginBody, TenantLoginRequest
from shared.contracts.tenant_logout import TENANT_LOGOUT, TenantLogoutRequest
from shared.contracts.tenant_register import TENANT_REGISTER, TenantRegisterBody, TenantRegisterRequest
from shared.contracts.tenant_update import TENANT_UPDATE, TenantUpdateBody, TenantUpdateRequest
from shared.contracts.tenant_verify import TENANT_VERIFY, TenantVerifyRequest

router = APIRouter(prefix="/tenant", tags=["Tenants"], route_class=JsonBodyRoute)


async def _authority(
    tenant_token: OptionalTenantToken, client_address: SourceAddress, registration_key: RegistrationKey = None
) -> dict[str, object]:
    """Return the proof that permits disabling or deleting a tenant, and the client's address.

    Raises `MissingTenantToken` if the request has neither a tenant token nor the registration key.
    """
    proofs = {"tenant_token": tenant_token, "registration_key": registration_key}
    given: dict[str, object] = {name: value for name, value in proofs.items() if value is not None}
    if not given:
        raise MissingTenantToken
    return {**given, "client_address": client_address}


Authority = Annotated[dict[str, object], Depends(_authority)]


@router.post("", **documented(TENANT_REGISTER))
async def register_tenant(
    body: TenantRegisterBody,
    workers: Workers,
    client_address: SourceAddress,
    registration_key: RegistrationKey = None,
) -> Response:
    """Register a tenant and log it in. Allowed from configured networks, or with the registration key."""
    request = to_request(TenantRegisterRequest, body, client_address=client_address, registration_key=registration_key)
    reply = await workers.call(TENANT_REGISTER, request)
    return to_response(reply)


@router.post("/login", **documented(TENANT_LOGIN))
async def log_in_tenant(body: TenantLoginBody, workers: Workers, client_address: SourceAddress) -> Response:
    """Exchange a tenant's email and password for a tenant token. Too many failed attempts are answered 429."""
    request = to_request(TenantLoginRequest, body, client_address=client_address)
    reply = await workers.call(TENANT_LOGIN, request)
    return to_response(reply)


@router.post("/verify", **documented(TENANT_VERIFY))
async def verify_tenant(body: TenantVerifyRequest, workers: Workers) -> Response:
    """Verify a tenant token and return its claims."""
    reply = await workers.call(TENANT_VERIFY, body)
    return to_response(reply)


@router.post("/logout", **documented(TENANT_LOGOUT))
async def log_out_tenant(body: TenantLogoutRequest, workers: Workers) -> Response:
    """Revoke the session of a tenant token. The token is rejected from then on."""
    reply = await workers.call(TENANT_LOGOUT, body)
    return to_response(reply)


@router.patch("", **documented(TENANT_UPDATE))
async def update_tenant(body: TenantUpdateBody, caller: Authenticated, workers: Workers) -> Response:
    """Revoke every token of the tenant and return a new one; `password` changes its password.

    The tenant's users stay logged in.
    """
    request = to_request(
        TenantUpdateRequest, body, tenant_token=caller["tenant_token"], client_address=caller.get("caller_address")
    )
    reply = await workers.call(TENANT_UPDATE, request)
    return to_response(reply)


# Disabling and deleting are POST: they need a body, and intermediaries may drop the body of a DELETE.
@router.post("/disable", **documented(TENANT_DISABLE, token_is_optional=True))
async def disable_tenant(body: AuthorityBody, authority: Authority, workers: Workers) -> Response:
    """Revoke every session of the tenant and of its users, and refuse its logins until it is enabled.

    Needs the tenant token and the tenant's password, or the registration key and the tenant's email.
    """
    reply = await workers.call(TENANT_DISABLE, to_request(TenantDisableRequest, body, **authority))
    return to_response(reply)


@router.post("/enable", **documented(TENANT_ENABLE))
async def enable_tenant(
    body: TenantEnableBody, workers: Workers, registration_key: RequiredRegistrationKey, client_address: SourceAddress
) -> Response:
    """Enable a tenant that was disabled, or locked after too many failed logins in a row.

    Needs the registration key.
    """
    request = to_request(TenantEnableRequest, body, registration_key=registration_key, client_address=client_address)
    reply = await workers.call(TENANT_ENABLE, request)
    return to_response(reply)


@router.post("/delete", **documented(TENANT_DELETE, token_is_optional=True))
async def delete_tenant(body: AuthorityBody, authority: Authority, workers: Workers) -> Response:
    """Delete the tenant and its users, and revoke all their sessions.

    Needs the tenant token and the tenant's password, or the registration key and the tenant's email.
    """
    reply = await workers.call(TENANT_DELETE, to_request(TenantDeleteRequest, body, **authority))
    return to_response(reply)


@router.post("/reset", **documented(TENANT_COMPLETE_RESET))
async def complete_reset_of_tenant(
    body: TenantCompleteResetBody, workers: Workers, client_address: SourceAddress
) -> Response:
    """Set the tenant's password with a code from an operator. It revokes every token of the tenant.

    The tenant's users stay logged in, and its API keys stay valid. Too many wrong codes are answered 429.
    """
    request = to_request(TenantCompleteResetRequest, body, client_address=client_address)
    reply = await workers.call(TENANT_COMPLETE_RESET, request)
    return to_response(reply)
