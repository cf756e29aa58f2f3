"""OAuth 2.0 routes for gateways: token introspection (RFC 7662) and token revocation (RFC 7009)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from api.bodies import FORM
from api.dependencies import GatewayToken, Verifier, Workers
from api.messages import to_response
from api.oauth import OAuthRoute
from api.openapi import documented
from shared.contracts.auth_verify import VerifyCheck
from shared.contracts.errors import FieldProblem, InvalidRequest, InvalidToken
from shared.contracts.token_introspect import INACTIVE, TOKEN_INTROSPECT, TokenIntrospectReply
from shared.contracts.token_revoke import TOKEN_REVOKE, TokenRevokeRequest
from shared.contracts.wire import Token, WireModel
from shared.process.logging import request_id

router = APIRouter(tags=["Tokens"], route_class=OAuthRoute)


class TokenForm(WireModel):
    """Form of RFC 7662, 2.1 and RFC 7009, 2.1. `token_type_hint` is ignored: there is one kind of token."""

    token: Token


async def _form(request: Request, form: Annotated[TokenForm, Form()]) -> TokenForm:
    """Return the form, and refuse a repeated `token` (RFC 6749, 3.2).

    Gateway and edge might otherwise read different tokens.
    """
    if len((await request.form()).getlist("token")) > 1:
        raise InvalidRequest(problems=[FieldProblem(field="token", message="must be given once")])
    return form


SentForm = Annotated[TokenForm, Depends(_form)]


@router.post("/introspect", **documented(TOKEN_INTROSPECT, media_type=FORM, oauth=True))
async def introspect_token(form: SentForm, tenant_token: GatewayToken, verifier: Verifier) -> Response:
    """Report whether a user's token is active (RFC 7662)."""
    check = VerifyCheck(tenant_token=tenant_token, token=form.token, request_id=request_id.get())
    try:
        claims = await verifier.verify(check)
    except InvalidToken:
        return to_response(INACTIVE)
    return to_response(TokenIntrospectReply.of(claims))


@router.post("/revoke", **documented(TOKEN_REVOKE, media_type=FORM, oauth=True))
async def revoke_token(form: SentForm, tenant_token: GatewayToken, workers: Workers) -> Response:
    """Revoke the session of a user's token (RFC 7009). An invalid token gets the same answer."""
    reply = await workers.call(TOKEN_REVOKE, TokenRevokeRequest(tenant_token=tenant_token, token=form.token))
    return to_response(reply)
