"""OAuth 2.0 errors (RFC 6749, 5.2) for `/oauth/token`, `/introspect` and `/revoke`.

The members of a problem document stay in the response, so both kinds of client can read it.
"""

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.bodies import JSON, FormBodyRoute
from api.errors import (
    CHALLENGE,
    PROBLEM_TYPE,
    EdgeCode,
    Problem,
    answer_of,
    problem,
    problem_response,
)
from shared.contracts.errors import AuthError, ErrorCode

#: Status and `error` for each problem status. OAuth has no codes for the others, which are not the client's fault.
OAUTH_ERRORS = {
    400: (400, "invalid_request"),
    401: (401, "invalid_client"),
    403: (403, "unauthorized_client"),
    408: (408, "invalid_request"),
    413: (413, "invalid_request"),
    415: (415, "invalid_request"),
    422: (400, "invalid_request"),
}
#: Codes that are OAuth 2.0 codes, too (RFC 6749, 5.2; RFC 7009, 2.2.1).
SAME_CODES = frozenset({ErrorCode.INVALID_SCOPE, ErrorCode.UNSUPPORTED_TOKEN_TYPE, EdgeCode.UNSUPPORTED_GRANT_TYPE})
BASIC_CHALLENGE = 'Basic realm="jincor-auth"'
BAD_FORM = "body is not a form, or has too many fields"


class OAuthRoute(FormBodyRoute):
    """Route that reports client errors as OAuth 2.0 errors. Other errors, such as 503, stay plain problem documents."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_oauth(request: Request) -> Response:
            try:
                return await handle(request)
            except (AuthError, RequestValidationError, HTTPException) as error:
                return _answer(request, error)

        return handle_oauth


def oauth_problem(document: Problem) -> Problem:
    """Return the problem with its OAuth 2.0 status and error code, or unchanged if OAuth has none."""
    if document.status not in OAUTH_ERRORS:
        return document
    status, error = OAUTH_ERRORS[document.status]
    if document.code in SAME_CODES:
        error = document.code
    title = HTTPStatus(status).phrase
    words = {"status": status, "title": title, "error": error, "error_description": document.detail}
    return document.model_copy(update=words)


def media_type_of(document: Problem) -> str:
    """Return the media type of a problem: OAuth 2.0 errors are `application/json` (RFC 6749, 5.2)."""
    return PROBLEM_TYPE if document.error_description is None else JSON


def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.BAD_REQUEST:
        document, headers = problem(ErrorCode.BAD_REQUEST, BAD_FORM), None
    else:
        document, headers = answer_of(request, error)
    document = oauth_problem(document)
    if document.status == HTTPStatus.UNAUTHORIZED:
        headers = _challenges(request, headers)
    return problem_response(document, headers, media_type_of(document))


def _challenges(request: Request, of_bearer: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return the challenge of the scheme that the client used, or of both schemes (RFC 6749, 5.2)."""
    match request.headers.get("authorization", "").partition(" ")[0].lower():
        case "basic":
            return {"WWW-Authenticate": BASIC_CHALLENGE}
        case "bearer":
            return of_bearer
        case _:
            return {"WWW-Authenticate": f"{CHALLENGE}, {BASIC_CHALLENGE}"}
