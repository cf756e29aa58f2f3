"""Tokens in the words of the OAuth 2.0 standards, for gateways that speak them already."""

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
    """Of RFC 7662, 2.1 and RFC 7009, 2.1. There is one kind of token, so hints are ignored."""

    token: Token


async def _form(request: Request, form: Annotated[TokenForm, Form()]) -> TokenForm:
    """RFC 6749, 3.2: no parameter comes twice. Of two tokens, gateway and edge might take different ones."""
    if len((await request.form()).getlist("token")) > 1:
        raise InvalidRequest(problems=[FieldProblem(field="token", message="must be given once")])
    return form


SentForm = Annotated[TokenForm, Depends(_form)]


@router.post("/introspect", **documented(TOKEN_INTROSPECT, media_type=FORM, oauth=True))
async def introspect_token(form: SentForm, tenant_token: GatewayToken, verifier: Verifier) -> Response:
    """Tells whether a user's token is active (RFC 7662). Travels and coalesces as a verification does."""
    check = VerifyCheck(tenant_token=tenant_token, token=form.token, request_id=request_id.get())
    try:
        claims = await verifier.verify(check)
    except InvalidToken:
        return to_response(INACTIVE)
    return to_response(TokenIntrospectReply.of(claims))


@router.post("/revoke", **documented(TOKEN_REVOKE, media_type=FORM, oauth=True))
async def revoke_token(form: SentForm, tenant_token: GatewayToken, workers: Workers) -> Response:
    """Ends the session of a user's token (RFC 7009). A token that is not valid is answered the same."""
    reply = await workers.call(TOKEN_REVOKE, TokenRevokeRequest(tenant_token=tenant_token, token=form.token))
    return to_response(reply)
