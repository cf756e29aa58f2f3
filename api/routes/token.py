"""OAuth 2.0 routes for gateways: token introspection (RFC 7662) and token revocation (RFC 7009)."""

from fastapi import APIRouter, Response

from api.bodies import FORM
from api.dependencies import EdgeVerifier, IntrospectionExp, Workers
from api.messages import to_response
from api.oauth import OAuthRoute
from api.oauth_clients import SentTokenRequest
from api.openapi import documented
from shared.contracts.auth_verify import VerifyCheck
from shared.contracts.errors import InvalidToken
from shared.contracts.token_introspect import INACTIVE, TOKEN_INTROSPECT, TokenIntrospectReply
from shared.contracts.token_revoke import TOKEN_REVOKE, TokenRevokeRequest
from shared.process.logging import request_id

router = APIRouter(tags=["Tokens"], route_class=OAuthRoute)


@router.post("/introspect", **documented(TOKEN_INTROSPECT, media_type=FORM, token_is_optional=True, oauth=True))
async def introspect_token(sent: SentTokenRequest, verifier: EdgeVerifier, with_exp: IntrospectionExp) -> Response:
    """Report whether a user's token is active (RFC 7662)."""
    check = VerifyCheck(**sent.caller, token=sent.token, request_id=request_id.get())
    try:
        claims = await verifier.verify(check)
    except InvalidToken:
        return to_response(INACTIVE)
    return to_response(TokenIntrospectReply.of(claims, with_exp=with_exp))


@router.post("/revoke", **documented(TOKEN_REVOKE, media_type=FORM, token_is_optional=True, oauth=True))
async def revoke_token(sent: SentTokenRequest, workers: Workers) -> Response:
    """Revoke the session of a user's token (RFC 7009). An invalid token gets the same answer.

    A token of the tenant itself is refused as `unsupported_token_type`.
    """
    reply = await workers.call(TOKEN_REVOKE, TokenRevokeRequest(**sent.caller, token=sent.token))
    return to_response(reply)
