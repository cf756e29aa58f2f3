"""Route of the OAuth 2.0 token endpoint: the client credentials grant (RFC 6749, 4.4)."""

from fastapi import APIRouter, Response

from api.bodies import FORM
from api.dependencies import Workers
from api.errors import UnsupportedGrantType
from api.messages import to_response
from api.oauth import OAuthRoute
from api.oauth_clients import SentGrantRequest
from api.openapi import documented
from shared.contracts.oauth_token import OAUTH_TOKEN, OauthTokenRequest

router = APIRouter(tags=["Credentials"], route_class=OAuthRoute)


@router.post(
    "/oauth/token",
    **documented(
        OAUTH_TOKEN, media_type=FORM, token_is_optional=True, oauth=True, edge_errors=(UnsupportedGrantType(),)
    ),
)
async def issue_access_token(sent: SentGrantRequest, workers: Workers) -> Response:
    """Exchange an API key for an access token with some of its permissions, or with all (RFC 6749, 4.4).

    The client id is the id of the key, the client secret is the whole key. Send the access token wherever a tenant
    token or an API key is accepted. It is valid for an hour by default, and never longer than its key.
    """
    scope = {} if sent.scope is None else {"scope": sent.scope}
    reply = await workers.call(OAUTH_TOKEN, OauthTokenRequest(**sent.caller, **scope))
    response = to_response(reply)
    response.headers["Pragma"] = "no-cache"  # required by RFC 6749, 5.1, beside `Cache-Control`
    return response
