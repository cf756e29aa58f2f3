"""A tenant's users: create, find, change, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.bodies import JsonBodyRoute
from api.dependencies import PathName, TenantToken, Workers
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.user_create import USER_CREATE, UserCreateBody, UserCreateRequest
from shared.contracts.user_delete import USER_DELETE, UserDeleteRequest
from shared.contracts.user_list import USER_LIST, UserListQuery, UserListRequest
from shared.contracts.user_update import USER_UPDATE, UserUpdateBody, UserUpdateRequest

router = APIRouter(prefix="/user", tags=["Users"], route_class=JsonBodyRoute)


@router.post("", **documented(USER_CREATE))
async def create_user(body: UserCreateBody, tenant_token: TenantToken, workers: Workers) -> Response:
    """Creates a user. An existing one is never replaced."""
    request = to_request(UserCreateRequest, body, tenant_token=tenant_token)
    reply = await workers.call(USER_CREATE, request)
    return to_response(reply)


@router.get("", **documented(USER_LIST))
async def list_users(query: Annotated[UserListQuery, Query()], tenant_token: TenantToken, workers: Workers) -> Response:
    """Lists users in order of login, page by page: all, or those whose login or email contains `q`."""
    request = to_request(UserListRequest, query, tenant_token=tenant_token)
    reply = await workers.call(USER_LIST, request)
    return to_response(reply)


@router.patch("/{login}", **documented(USER_UPDATE))
async def update_user(login: PathName, body: UserUpdateBody, tenant_token: TenantToken, workers: Workers) -> Response:
    """Changes what is given and leaves the rest (RFC 7396). A new password ends every session of the user.

    Another `scope` or `sub` is in the tokens of later logins. Tokens that are there keep the old one until their
    session ends: to take a scope away at once, end the sessions with `DELETE /user/{login}/sessions`.
    """
    request = to_request(UserUpdateRequest, body, tenant_token=tenant_token, login=login)
    reply = await workers.call(USER_UPDATE, request)
    return to_response(reply)


@router.delete("/{login}", **documented(USER_DELETE))
async def delete_user(login: PathName, tenant_token: TenantToken, workers: Workers) -> Response:
    """Deletes a user and ends every session of it."""
    request = UserDeleteRequest(tenant_token=tenant_token, login=login)
    reply = await workers.call(USER_DELETE, request)
    return to_response(reply)
