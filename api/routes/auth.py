"""Routes of user tokens: login, verification, logout."""

from fastapi import APIRouter, Response

from api.bodies import JsonBodyRoute
from api.dependencies import Authenticated, EdgeVerifier, Workers
from api.messages import to_request, to_response
from api.openapi import documented
from shared.contracts.auth_login import AUTH_LOGIN, AuthLoginBody, AuthLoginRequest
from shared.contracts.auth_logout import AUTH_LOGOUT, AuthLogoutBody, AuthLogoutRequest
from shared.contracts.auth_verify import AUTH_VERIFY, VerifyCheck
from shared.contracts.claims import Claims
from shared.contracts.wire import Token, WireModel
from shared.process.logging import request_id

router = APIRouter(prefix="/auth", tags=["Tokens"], route_class=JsonBodyRoute)


class AuthVerifyBody(WireModel):
    token: Token


class AuthVerified(WireModel):
    """Response of a verification: the token's claims."""

    decoded: Claims


@router.post("", **documented(AUTH_LOGIN))
@router.post("/", include_in_schema=False)  # for clients of the first Jincor Auth
async def log_in_user(body: AuthLoginBody, caller: Authenticated, workers: Workers) -> Response:
    """Exchange a user's login and password for a token. An unknown login and a wrong password get the same answer.

    Too many failed attempts are answered 429. Send the user's IP address as `clientAddress`. Failed attempts from
    other addresses then do not lock the user out, and attempts at many logins from one address are throttled too.
    """
    request = to_request(AuthLoginRequest, body, **caller)
    reply = await workers.call(AUTH_LOGIN, request)
    return to_response(reply)


@router.post("/verify", **documented(AUTH_VERIFY, reply=AuthVerified))
async def verify_user(body: AuthVerifyBody, caller: Authenticated, verifier: EdgeVerifier) -> Response:
    """Verify a user's token and return its claims."""
    check = VerifyCheck(**caller, token=body.token, request_id=request_id.get())
    return to_response(AuthVerified(decoded=await verifier.verify(check)))


@router.post("/logout", **documented(AUTH_LOGOUT))
async def log_out_user(body: AuthLogoutBody, caller: Authenticated, workers: Workers) -> Response:
    """Revoke the session of a user's token. Verifications after this response reject the token."""
    request = to_request(AuthLogoutRequest, body, **caller)
    reply = await workers.call(AUTH_LOGOUT, request)
    return to_response(reply)
