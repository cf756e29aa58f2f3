"""HTTP responses to errors: one table from code to status, and problem documents (RFC 9457)."""

import logging
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from shared.contracts.errors import (
    RETRY_AFTER_SECONDS,
    AuthError,
    Code,
    Details,
    ErrorCode,
    FieldProblem,
    InternalError,
    InvalidRequest,
    InvalidTenantToken,
    Temporary,
    field_problems,
)
from shared.contracts.wire import WireModel
from shared.process.logging import request_id

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"

#: RFC 6750, 3: a request without credentials gets the bare challenge, a bad token also the reason.
CHALLENGE = 'Bearer realm="jincor-auth"'
BAD_TOKEN_CHALLENGE = f'{CHALLENGE}, error="invalid_token"'
RETRY = {"Retry-After": str(RETRY_AFTER_SECONDS)}

#: Problem code of the response to the current request, for its log line.
answered_code: ContextVar[str | None] = ContextVar("answered_code", default=None)


class EdgeCode(StrEnum):
    """Codes of errors that the edge finds before it calls a worker. Codes are never renamed."""

    ROUTE_NOT_FOUND = "route_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_SLOW = "body_too_slow"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_MANY_REQUESTS = "too_many_requests"
    HEADERS_TOO_LARGE = "headers_too_large"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """HTTP status and headers of an error code."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


HTTP_ANSWERS: dict[str, HttpAnswer] = {
    ErrorCode.BAD_REQUEST: HttpAnswer(400),
    ErrorCode.INVALID_REQUEST: HttpAnswer(422),
    ErrorCode.INVALID_TENANT_TOKEN: HttpAnswer(401, {"WWW-Authenticate": BAD_TOKEN_CHALLENGE}),
    ErrorCode.INVALID_TOKEN: HttpAnswer(400),
    ErrorCode.UNSUPPORTED_TOKEN_TYPE: HttpAnswer(400),
    ErrorCode.INVALID_CREDENTIALS: HttpAnswer(403),
    ErrorCode.FORBIDDEN: HttpAnswer(403),
    ErrorCode.INVALID_SCOPE: HttpAnswer(400),
    ErrorCode.THROTTLED: HttpAnswer(429, RETRY),
    ErrorCode.REGISTRATION_FORBIDDEN: HttpAnswer(403),
    ErrorCode.TENANT_NOT_FOUND: HttpAnswer(404),
    ErrorCode.USER_NOT_FOUND: HttpAnswer(404),
    ErrorCode.SESSION_NOT_FOUND: HttpAnswer(404),
    ErrorCode.KEY_NOT_FOUND: HttpAnswer(404),
    ErrorCode.LOGIN_TAKEN: HttpAnswer(409),
    ErrorCode.EMAIL_TAKEN: HttpAnswer(409),
    ErrorCode.KEY_LIMIT_REACHED: HttpAnswer(409),
    ErrorCode.UNAVAILABLE: HttpAnswer(503, RETRY),
    ErrorCode.OVERLOADED: HttpAnswer(503, RETRY),
    ErrorCode.DEADLINE_EXCEEDED: HttpAnswer(504, RETRY),
    ErrorCode.INTERNAL: HttpAnswer(500),
    EdgeCode.ROUTE_NOT_FOUND: HttpAnswer(404),
    EdgeCode.METHOD_NOT_ALLOWED: HttpAnswer(405),
    EdgeCode.BODY_TOO_SLOW: HttpAnswer(408),
    EdgeCode.BODY_TOO_LARGE: HttpAnswer(413),
    EdgeCode.UNSUPPORTED_MEDIA_TYPE: HttpAnswer(415),
    EdgeCode.TOO_MANY_REQUESTS: HttpAnswer(429, RETRY),
    EdgeCode.HEADERS_TOO_LARGE: HttpAnswer(431),
    EdgeCode.UNSUPPORTED_GRANT_TYPE: HttpAnswer(400),
}

#: Answers for codes that only a newer worker knows. RFC 9110, 15.5.4: 403 means understood, but refused.
UNKNOWN_REFUSAL = HttpAnswer(403)
UNKNOWN_TEMPORARY = HttpAnswer(503, RETRY)

#: Code and text for each `HTTPException`: the framework's own, and the edge's where FastAPI accepts no other.
HTTP_EXCEPTIONS: dict[int, tuple[ErrorCode | EdgeCode, str]] = {
    400: (ErrorCode.BAD_REQUEST, "body is not valid JSON"),
    401: (  # raised by the framework for Basic credentials
        ErrorCode.INVALID_TENANT_TOKEN,
        "the Authorization header is malformed",
    ),
    404: (EdgeCode.ROUTE_NOT_FOUND, "no route matches this path"),
    405: (EdgeCode.METHOD_NOT_ALLOWED, "method is not allowed for this path, see Allow"),
    408: (EdgeCode.BODY_TOO_SLOW, "body was not received within the time limit"),
    413: (EdgeCode.BODY_TOO_LARGE, "body is too large"),
    415: (EdgeCode.UNSUPPORTED_MEDIA_TYPE, "the body must have another Content-Type"),
    429: (EdgeCode.TOO_MANY_REQUESTS, "too many requests from this address, see Retry-After"),
}
#: Detail of an `HTTPException` with status 400 for a body with broken HTTP framing.
BROKEN_BODY = "body is not well-formed HTTP"


class MissingTenantToken(InvalidTenantToken):
    """The request has no tenant token."""

    text = "a token or an API key is required: Authorization: Bearer <token or key>"


class UnsupportedGrantType(AuthError):
    """The grant type of a request to `/oauth/token` is not supported."""

    code = EdgeCode.UNSUPPORTED_GRANT_TYPE
    text = "grant_type must be client_credentials"


class Problem(WireModel):
    """A problem document (RFC 9457). Programs read `code`, whose meaning never changes; the texts may."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: Annotated[ErrorCode | EdgeCode | Code, Field(union_mode="left_to_right")]
    """New codes may appear. Treat an unknown code by its `status`."""
    error: str
    """The text of `detail`, for clients of the first Jincor Auth. At `/oauth/token`, `/introspect` and
    `/revoke`: the OAuth 2.0 error code, if the standard has one for this problem."""
    error_description: str | None = Field(None, alias="error_description")
    """The text of `detail`, where `error` is an OAuth 2.0 code."""
    errors: tuple[FieldProblem, ...] = ()
    """Every invalid field of the request."""
    missing: tuple[str, ...] = ()
    """The missing parts of a service that is not ready."""
    details: Details = Field(default_factory=dict)
    """Machine-readable facts about the error, by name. New names may appear."""
    incident: str | None = None
    """Identifies an internal error in the service's log."""
    request_id: str | None = None
    """The `X-Request-ID` of this response."""


def problem(code: str, text: str, unknown: HttpAnswer = UNKNOWN_REFUSAL, **members: Any) -> Problem:
    """Return the problem document of a code; a code missing from the table is answered as `unknown`.

    `members` are further members of the document, such as `errors`.
    """
    status = HTTP_ANSWERS.get(code, unknown).status
    return Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=text,
        code=code,
        error=text,
        request_id=request_id.get(),
        **members,
    )


def problem_of(error: AuthError) -> Problem:
    """Return the problem document of an error that a worker or the edge raised."""
    unknown = UNKNOWN_TEMPORARY if isinstance(error, Temporary) else UNKNOWN_REFUSAL
    details: dict[str, Any] = {"details": error.details} if error.details else {}
    match error:
        case InvalidRequest(problems=problems):
            return problem(error.code, str(error), errors=problems, **details)
        case InternalError(incident=incident):
            return problem(error.code, str(error), incident=incident, **details)
        case _:
            return problem(error.code, str(error), unknown, **details)


def problem_response(
    document: Problem, headers: Mapping[str, str] | None = None, media_type: str = PROBLEM_TYPE
) -> Response:
    """Return the document as an HTTP response, with the headers of its code unless others are given."""
    if headers is None:
        headers = HTTP_ANSWERS.get(document.code, UNKNOWN_REFUSAL).headers
    answered_code.set(document.code)
    return Response(document.to_json(), document.status, headers, media_type=media_type)


async def answer_error(request: Request, error: Exception) -> Response:
    """Return the response to any exception. Neither it nor the log holds input, which may be a password."""
    return problem_response(*answer_of(request, error))


def answer_of(request: Request, error: Exception) -> tuple[Problem, Mapping[str, str] | None]:
    """Return the problem document of any exception, and its headers if they differ from those of its code."""
    document: Problem
    headers: Mapping[str, str] | None = None
    match error:
        case MissingTenantToken():
            document, headers = problem_of(error), {"WWW-Authenticate": CHALLENGE}
        case InternalError(incident=None):
            document = _internal(error)
        case Temporary(retry_after_seconds=seconds):
            document, headers = problem_of(error), {"Retry-After": str(seconds)}
        case AuthError():
            document = problem_of(error)
        case RequestValidationError():
            # Each path begins with the part of the request: `body`, `query`, `path` or `header`.
            document = problem_of(InvalidRequest(problems=field_problems(error.errors(), skip=1)))
        case HTTPException(status_code=415, detail=expected):
            text = f"the body must have Content-Type: {expected}"
            document = problem(EdgeCode.UNSUPPORTED_MEDIA_TYPE, text)
        case HTTPException(status_code=400, detail=text) if text == BROKEN_BODY:
            document = problem(ErrorCode.BAD_REQUEST, text)
        case HTTPException(status_code=405):
            document, headers = problem(*HTTP_EXCEPTIONS[405]), {"Allow": _allowed_methods(request)}
        case HTTPException(status_code=status) if status in HTTP_EXCEPTIONS:
            document = problem(*HTTP_EXCEPTIONS[status])
        case _:
            document = _internal(error)
    return document, headers


def _internal(error: Exception) -> Problem:
    incident = uuid.uuid4().hex
    log.error("request failed unexpectedly", exc_info=error, extra={"incident": incident})
    return problem_of(InternalError(incident=incident))


def _allowed_methods(request: Request) -> str:
    """Return all methods of a path (RFC 9110, 10.2.1); the framework names only those of its first route."""
    methods = [
        method
        for method in ("GET", "POST", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] == Match.FULL for route in request.app.routes)
    ]
    return ", ".join(methods).replace("GET", "GET, HEAD")  # see api.middleware.HeadAsGet
