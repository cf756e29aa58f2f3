"""Routes of operators: login, logout, their own password, and the list of operators with its permissions."""

from fastapi import APIRouter, Response

from api.bodies import JsonBodyRoute
from api.dependencies import Authenticated, PathName, Workers
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.auth_login import AuthLoginBody
from shared.contracts.operator_list import OPERATOR_LIST, OperatorListRequest
from shared.contracts.operator_login import OPERATOR_LOGIN, OperatorLoginRequest
from shared.contracts.operator_logout import OPERATOR_LOGOUT, OperatorLogoutRequest
from shared.contracts.operator_set_password import (
    OPERATOR_SET_PASSWORD,
    OperatorSetPasswordBody,
    OperatorSetPasswordRequest,
)
from shared.contracts.operator_update import OPERATOR_UPDATE, OperatorUpdateBody, OperatorUpdateRequest

router = APIRouter(tags=["Operators"], route_class=JsonBodyRoute)


@router.post("/operator/login", **documented(OPERATOR_LOGIN))
async def log_in_operator(body: AuthLoginBody, caller: Authenticated, workers: Workers) -> Response:
    """Exchange an operator's login and password for an operator's token.

    Needs a credential of the operators' tenant, such as an API key with `auth:login`. A user that is no operator gets
    the same answer as a wrong password.
    """
    reply = await workers.call(OPERATOR_LOGIN, to_request(OperatorLoginRequest, body, **caller))
    return to_response(reply)


@router.post("/operator/logout", **documented(OPERATOR_LOGOUT))
async def log_out_operator(caller: Authenticated, workers: Workers) -> Response:
    """Revoke the session of the operator's token in `Authorization`. The token is rejected from then on."""
    reply = await workers.call(OPERATOR_LOGOUT, OperatorLogoutRequest(**caller))
    return to_response(reply)


@router.post("/operator/password", **documented(OPERATOR_SET_PASSWORD))
async def set_operator_password(body: OperatorSetPasswordBody, caller: Authenticated, workers: Workers) -> Response:
    """Change the operator's own password. This revokes all its sessions, so it has to log in again."""
    reply = await workers.call(OPERATOR_SET_PASSWORD, to_request(OperatorSetPasswordRequest, body, **caller))
    return to_response(reply)


@router.get("/operators", **documented(OPERATOR_LIST))
async def list_operators(caller: Authenticated, workers: Workers) -> Response:
    """List the operators and their permissions."""
    reply = await workers.call(OPERATOR_LIST, OperatorListRequest(**caller))
    return to_response(reply)


@router.patch("/operators/{login}", **documented(OPERATOR_UPDATE))
async def update_operator(
    login: PathName, body: OperatorUpdateBody, caller: Authenticated, workers: Workers
) -> Response:
    """Set the operator permissions of a user of the operators' tenant. They take effect at once.

    An operator can give and take only permissions that it has. One operator always keeps `operators:write`.
    """
    reply = await workers.call(OPERATOR_UPDATE, to_request(OperatorUpdateRequest, body, **caller, login=login))
    return to_response(reply)
