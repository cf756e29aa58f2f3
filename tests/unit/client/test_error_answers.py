"""`FastApiAuth.exception_handlers`: the response to each error of an endpoint's own call."""

import logging
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from shared.contracts.errors import (
    AuthError,
    BadRequest,
    DeadlineExceeded,
    EmailTaken,
    ErrorReply,
    FieldProblem,
    Forbidden,
    InternalError,
    InvalidCredentials,
    InvalidRequest,
    InvalidScope,
    InvalidTenantToken,
    InvalidToken,
    KeyLimitReached,
    KeyNotFound,
    LoginTaken,
    Overloaded,
    RegistrationForbidden,
    ServiceCredentialsRejected,
    SessionNotFound,
    Temporary,
    TenantNotFound,
    Throttled,
    Unavailable,
    UnsupportedTokenType,
    UserNotFound,
    from_reply,
)
from shared.fastapi import FastApiAuth

CHALLENGE = 'Bearer realm="jincor-auth", error="invalid_token"'
#: Every class of the tree, with the status that an endpoint gives for it.
STATUSES: dict[type[AuthError], int] = {
    AuthError: 403,
    BadRequest: 500,
    InvalidRequest: 422,
    InvalidTenantToken: 503,
    Forbidden: 503,
    InvalidToken: 401,
    UnsupportedTokenType: 403,
    InvalidScope: 403,
    InvalidCredentials: 403,
    RegistrationForbidden: 403,
    TenantNotFound: 404,
    UserNotFound: 404,
    SessionNotFound: 404,
    KeyNotFound: 404,
    LoginTaken: 409,
    EmailTaken: 409,
    KeyLimitReached: 409,
    InternalError: 500,
    ServiceCredentialsRejected: 503,
    Temporary: 503,
    Throttled: 429,
    Unavailable: 503,
    Overloaded: 503,
    DeadlineExceeded: 503,
}


def tree(root: type[AuthError] = AuthError) -> Iterator[type[AuthError]]:
    yield root
    for each in root.__subclasses__():
        if each.__module__ == AuthError.__module__:  # the edge has classes of its own
            yield from tree(each)


def test_tree_of_errors_has_a_status_for_each_class() -> None:
    assert set(tree()) == set(STATUSES)


async def answer_to(error: AuthError) -> httpx.Response:
    """Return the response of an endpoint that raises this error."""
    app = FastAPI(exception_handlers=FastApiAuth("amqp://broker.invalid").exception_handlers)

    @app.get("/")
    async def fail() -> None:
        raise error

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://notes") as client:
        return await client.get("/")


def raised(error: type[AuthError]) -> AuthError:
    """Return an error of this class; the bare classes have codes of a newer service."""
    if error is AuthError:
        return from_reply(ErrorReply(code="from_tomorrow", message="not today"))
    if error is Temporary:
        return from_reply(ErrorReply(code="from_tomorrow", message="soon", retry_after_seconds=7))
    return error(retry_after_seconds=7) if issubclass(error, Temporary) else error()


@pytest.mark.parametrize("error", STATUSES)
async def test_error_of_an_endpoints_call_has_a_status_and_a_detail(
    error: type[AuthError], caplog: pytest.LogCaptureFixture
) -> None:
    sent = raised(error)
    answer = await answer_to(sent)
    status = STATUSES[error]
    assert answer.status_code == status
    texts = {503: Unavailable.text, 500: InternalError.text}
    assert answer.json() == {"detail": texts.get(status, str(sent))}
    if status in {429, 503}:
        assert answer.headers["Retry-After"] == ("7" if issubclass(error, Temporary) else "1")
    assert answer.headers.get("WWW-Authenticate") == (CHALLENGE if status == 401 else None)
    assert [record.levelno for record in caplog.records if record.name == "shared.fastapi"] == (
        [logging.ERROR] if status == 500 else []
    )


async def test_invalid_request_of_an_endpoints_call_lists_the_fields_as_fastapi_does() -> None:
    """A weak password at sign-up is the user's to correct."""
    problems = [FieldProblem(field="password", message="is too short"), FieldProblem(field="a.b", message="is odd")]
    answer = await answer_to(InvalidRequest(problems=problems))
    assert answer.status_code == 422
    assert answer.json() == {
        "detail": [
            {"type": "invalid_request", "loc": ["password"], "msg": "is too short"},
            {"type": "invalid_request", "loc": ["a", "b"], "msg": "is odd"},
        ]
    }


async def test_handler_of_the_application_takes_precedence_for_its_class() -> None:
    async def teapot(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"title": str(error)}, 418)

    auth = FastApiAuth("amqp://broker.invalid")
    app = FastAPI(exception_handlers={**auth.exception_handlers, Temporary: teapot})

    @app.get("/{code}")
    async def fail(code: int) -> None:
        raise Throttled if code == 1 else LoginTaken

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://notes") as client:
        assert [(await client.get(f"/{code}")).status_code for code in (1, 2)] == [418, 409]
