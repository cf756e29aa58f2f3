"""Route for proxies that authenticate each request first, such as nginx with `auth_request`.

It answers every method and every path below `/auth/forward`: Envoy, for example, asks with the method of
the request and appends its path.
"""

import json
import logging
import re
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Response
from fastapi.security import HTTPAuthorizationCredentials

from api.dependencies import EdgeVerifier, ForwardTenant, OnlyBearer
from api.errors import BAD_TOKEN_CHALLENGE, CHALLENGE, problem_of
from api.examples import USER_CLAIMS
from api.openapi import header, problem_content
from shared.contracts.auth_verify import VerifyCheck
from shared.contracts.claims import Claims
from shared.contracts.errors import OUTAGES, AuthError, InvalidToken, Unavailable
from shared.process.logging import request_id

log = logging.getLogger(__name__)

router = APIRouter(prefix="/auth", tags=["Tokens"])

PATH = "/auth/forward"
#: The routes of this module, as logs and metrics name them.
FORWARD_ROUTES = frozenset({PATH, f"{PATH}/{{appended:path}}"})

_bearer = OnlyBearer(scheme_name="userToken", bearerFormat="JWT", description="A user's token.", auto_error=False)

#: Printable ASCII except `%`. Other characters are percent-encoded as UTF-8, since headers cannot hold them.
PLAIN = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}~"
#: Spaces at either end are no part of a header's value (RFC 9110, 5.5): `" admin"` would arrive as `admin`.
OUTER_SPACES = re.compile("^ +| +$")

#: Applies to each `X-Auth-*` header, since headers cannot hold all characters of a claim.
ENCODED = "Characters outside printable ASCII, `%`, and outer spaces are percent-encoded UTF-8."
#: Headers of the response to a valid token, for the OpenAPI document.
CLAIM_HEADERS = {
    name: header(f"{text} {ENCODED}", str(USER_CLAIMS[claim]))
    for name, claim, text in (
        ("X-Auth-User", "id", "The user's id."),
        ("X-Auth-Login", "login", "The user's login."),
        ("X-Auth-Sub", "sub", "The tenant's own id of the user."),
        ("X-Auth-Tenant", "tenant", "The tenant's id."),
        ("X-Auth-Scope", "scope", "The scope, an object as JSON. Empty: no scope."),
        ("X-Auth-Device", "deviceId", "The device that the user logged in with."),
        ("X-Auth-Session", "jti", "The session's id."),
    )
}

#: A proxy passes on only the status and this header, so the response needs no body.
REFUSED = {"WWW-Authenticate": BAD_TOKEN_CHALLENGE}


# A route with an empty list of methods answers all; FastAPI requires an id for it. OpenAPI describes GET only.
@router.api_route("/forward/{appended:path}", methods=[], operation_id="auth.forward.path", include_in_schema=False)
@router.api_route("/forward", methods=[], operation_id="auth.forward.method", include_in_schema=False)
@router.get(
    "/forward",
    operation_id="auth.forward",
    response_class=Response,
    responses={
        200: {"description": "The token is valid", "headers": CLAIM_HEADERS},
        401: {
            "description": "No valid user token",
            "headers": {"WWW-Authenticate": header("Challenge (RFC 6750, 3).", BAD_TOKEN_CHALLENGE)},
        },
        503: {"description": "Service is unavailable", **problem_content({"unavailable": problem_of(Unavailable())})},
    },
)
async def forward_auth(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    tenant: ForwardTenant,
    verifier: EdgeVerifier,
) -> Response:
    """Verify a user's token for a proxy: 200 with the claims as `X-Auth-*` headers, or 401.

    The tenant is that of `AUTH_FORWARD_API_KEY` or `AUTH_FORWARD_EMAIL`.
    """
    if bearer is None:
        return Response(status_code=401, headers={"WWW-Authenticate": CHALLENGE})

    async def verify_as(credential: str) -> Claims:
        check = VerifyCheck(tenant_token=credential, token=bearer.credentials, request_id=request_id.get())
        return await verifier.verify(check)

    try:
        claims = await tenant.run(verify_as)
    except InvalidToken:
        return Response(status_code=401, headers=REFUSED)
    except OUTAGES:
        raise
    except AuthError as error:  # wrong credentials of the edge: a matter for the operator only
        log.error("credentials of /auth/forward are refused: %s", error, extra={"code": error.code})  # noqa: TRY400 - the text says it all
        raise Unavailable from None
    return Response(headers=_headers(claims))


def _headers(claims: Claims) -> dict[str, str]:
    scope = claims.scope if isinstance(claims.scope, str) else json.dumps(claims.scope)
    named = {
        "X-Auth-User": claims.id,
        "X-Auth-Login": claims.login,
        "X-Auth-Sub": claims.sub,
        "X-Auth-Tenant": claims.tenant,
        "X-Auth-Scope": scope if claims.scope is not None else "",
        "X-Auth-Device": claims.device_id or "",
        "X-Auth-Session": claims.jti,
    }
    return {name: header_value(value) for name, value in named.items()}


def header_value(text: str) -> str:
    """Encode a text as a header value. Percent-decoding restores it, and no two texts share an encoding."""
    return OUTER_SPACES.sub(lambda spaces: quote(spaces[0]), quote(text, safe=PLAIN))
