"""Routes of a user's sessions: list and revoke."""

from fastapi import APIRouter, Response

from api.dependencies import AuthenticatedOnTenant, PathName, Workers
from api.messages import to_response
from api.openapi import documented
from shared.contracts.session_list import SESSION_LIST, SessionListRequest
from shared.contracts.session_revoke import SESSION_REVOKE, SessionRevokeRequest
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL, SessionRevokeAllRequest

router = APIRouter(prefix="/user/{login}/sessions", tags=["Sessions"])


@router.get("", **documented(SESSION_LIST))
async def list_sessions(login: PathName, caller: AuthenticatedOnTenant, workers: Workers) -> Response:
    """List the live sessions of a user, newest first."""
    request = SessionListRequest(**caller, login=login)
    reply = await workers.call(SESSION_LIST, request)
    return to_response(reply)


@router.delete("", **documented(SESSION_REVOKE_ALL))
async def revoke_every_session(login: PathName, caller: AuthenticatedOnTenant, workers: Workers) -> Response:
    """Revoke every session of a user."""
    request = SessionRevokeAllRequest(**caller, login=login)
    reply = await workers.call(SESSION_REVOKE_ALL, request)
    return to_response(reply)


@router.delete("/{session_id}", **documented(SESSION_REVOKE))
async def revoke_session(
    login: PathName, session_id: PathName, caller: AuthenticatedOnTenant, workers: Workers
) -> Response:
    """Revoke one session of a user."""
    request = SessionRevokeRequest(**caller, login=login, session_id=session_id)
    reply = await workers.call(SESSION_REVOKE, request)
    return to_response(reply)
