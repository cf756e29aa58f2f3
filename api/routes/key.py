"""Routes of a tenant's API keys: create, list, rotate, revoke."""

from fastapi import APIRouter, Response

from api.bodies import JsonBodyRoute
from api.dependencies import AuthenticatedOnTenant, PathName, Workers
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.key_create import KEY_CREATE, KeyCreateBody, KeyCreateRequest
from shared.contracts.key_list import KEY_LIST, KeyListRequest
from shared.contracts.key_revoke import KEY_REVOKE, KeyRevokeRequest
from shared.contracts.key_rotate import KEY_ROTATE, KeyRotateBody, KeyRotateRequest

router = APIRouter(prefix="/keys", tags=["Credentials"], route_class=JsonBodyRoute)


@router.post("", **documented(KEY_CREATE))
async def create_key(body: KeyCreateBody, caller: AuthenticatedOnTenant, workers: Workers) -> Response:
    """Create an API key. The response shows it, once: the service stores only a digest of it."""
    request = to_request(KeyCreateRequest, body, **caller)
    reply = await workers.call(KEY_CREATE, request)
    return to_response(reply)


@router.get("", **documented(KEY_LIST))
async def list_keys(caller: AuthenticatedOnTenant, workers: Workers) -> Response:
    """List the live API keys of the tenant, newest first, without their secrets."""
    reply = await workers.call(KEY_LIST, KeyListRequest(**caller))
    return to_response(reply)


@router.post("/{id}/rotate", **documented(KEY_ROTATE))
async def rotate_key(id: PathName, body: KeyRotateBody, caller: AuthenticatedOnTenant, workers: Workers) -> Response:  # noqa: A002 - the name of the member
    """Give an API key a new secret. The old ones work until the overlap ends."""
    request = to_request(KeyRotateRequest, body, **caller, id=id)
    reply = await workers.call(KEY_ROTATE, request)
    return to_response(reply)


@router.delete("/{id}", **documented(KEY_REVOKE))
async def revoke_key(id: PathName, caller: AuthenticatedOnTenant, workers: Workers) -> Response:  # noqa: A002 - the name of the member
    """Revoke an API key and its access tokens."""
    reply = await workers.call(KEY_REVOKE, KeyRevokeRequest(**caller, id=id))
    return to_response(reply)
