"""Routes of a tenant's users: create, list, get, update, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.bodies import JsonBodyRoute
from api.dependencies import AuthenticatedOnTenant, PathName, Workers
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.user_create import USER_CREATE, UserCreateBody, UserCreateRequest
from shared.contracts.user_delete import USER_DELETE, UserDeleteRequest
from shared.contracts.user_get import USER_GET, UserGetRequest
from shared.contracts.user_list import USER_LIST, UserListQuery, UserListRequest
from shared.contracts.user_update import USER_UPDATE, UserUpdateBody, UserUpdateRequest

router = APIRouter(prefix="/user", tags=["Users"], route_class=JsonBodyRoute)


@router.post("", **documented(USER_CREATE))
async def create_user(body: UserCreateBody, caller: AuthenticatedOnTenant, workers: Workers) -> Response:
    """Create a user. An existing user is never replaced."""
    request = to_request(UserCreateRequest, body, **caller)
    reply = await workers.call(USER_CREATE, request)
    return to_response(reply)


@router.get("", **documented(USER_LIST))
async def list_users(
    query: Annotated[UserListQuery, Query()], caller: AuthenticatedOnTenant, workers: Workers
) -> Response:
    """List users by login, in pages: all, or those whose login or email contains `q`."""
    request = to_request(UserListRequest, query, **caller)
    reply = await workers.call(USER_LIST, request)
    return to_response(reply)


@router.get("/{login}", **documented(USER_GET))
async def get_user(login: PathName, caller: AuthenticatedOnTenant, workers: Workers) -> Response:
    """Return one user."""
    request = UserGetRequest(**caller, login=login)
    reply = await workers.call(USER_GET, request)
    return to_response(reply)


@router.patch("/{login}", **documented(USER_UPDATE))
async def update_user(
    login: PathName, body: UserUpdateBody, caller: AuthenticatedOnTenant, workers: Workers
) -> Response:
    """Change the given fields of a user (RFC 7396). A new password revokes every session of the user.

    A new `scope` or `sub` appears in tokens of later logins; existing tokens keep the old value. To withdraw a scope
    at once, revoke the sessions with `DELETE /user/{login}/sessions`.
    """
    request = to_request(UserUpdateRequest, body, **caller, login=login)
    reply = await workers.call(USER_UPDATE, request)
    return to_response(reply)


@router.delete("/{login}", **documented(USER_DELETE))
async def delete_user(login: PathName, caller: AuthenticatedOnTenant, workers: Workers) -> Response:
    """Delete a user and revoke all its sessions."""
    request = UserDeleteRequest(**caller, login=login)
    reply = await workers.call(USER_DELETE, request)
    return to_response(reply)
