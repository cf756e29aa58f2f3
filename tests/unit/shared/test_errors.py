"""The error tree: every code is one class, and an error survives its journey."""

import pytest
from pydantic import ValidationError

from shared.contracts.errors import (
    ERRORS,
    AuthError,
    ErrorCode,
    ErrorReply,
    FieldProblem,
    InternalError,
    InvalidRequest,
    Temporary,
    from_reply,
)
from shared.contracts.user_create import UserCreateRequest


def travelled(error: AuthError) -> AuthError:
    """The error as the other side raises it."""
    return from_reply(ErrorReply.model_validate_json(error.to_reply().to_json()))


def test_every_code_is_one_class() -> None:
    """No code is without its error, no error without a code or a text of its own."""
    assert set(ERRORS) == set(ErrorCode)
    assert {*ERRORS.values(), Temporary} == {*AuthError.__subclasses__(), *Temporary.__subclasses__()}
    assert len({error.text for error in ERRORS.values()}) == len(ERRORS)


@pytest.mark.parametrize("error", ERRORS.values())
def test_an_error_travels(error: type[AuthError]) -> None:
    """What one side raises is what the other side raises, with the same words."""
    for sent in (error(), error("more precisely this")):
        received = travelled(sent)
        assert type(received) is error
        assert str(received) == str(sent)
        assert received.to_reply() == sent.to_reply()
    assert str(error()) == error.text


@pytest.mark.parametrize("error", Temporary.__subclasses__())
def test_how_long_to_wait_travels(error: type[Temporary]) -> None:
    """Whoever is told to come again learns when that is worth it; from a peer that does not say, in a second."""
    received = travelled(error(retry_after_seconds=42))
    assert isinstance(received, error)
    assert received.retry_after_seconds == 42
    silent = from_reply(ErrorReply(code=error.code, message="not now"))
    assert isinstance(silent, error)
    assert silent.retry_after_seconds == 1


def test_problems_travel() -> None:
    """Every bad field arrives, and the text names them all."""
    problems = (FieldProblem(field="login", message="Field required"), FieldProblem(field="scope", message="too long"))
    received = travelled(InvalidRequest(problems=problems))
    assert isinstance(received, InvalidRequest)
    assert received.problems == problems
    assert str(received) == "invalid request: login: Field required; scope: too long"


def test_an_incident_travels() -> None:
    """The id that finds a fault in the worker's log arrives."""
    received = travelled(InternalError(incident="1234"))
    assert isinstance(received, InternalError)
    assert received.incident == "1234"
    assert str(received) == InternalError.text


def test_an_error_of_a_newer_worker_is_readable() -> None:
    """Members this side does not know yet are ignored."""
    reply = ErrorReply.model_validate_json(b'{"code": "login_taken", "message": "taken", "hint": "try another"}')
    assert reply.code is ErrorCode.LOGIN_TAKEN


def test_validation_names_fields_and_shows_none() -> None:
    """What pydantic complains about becomes problems by path, without a word of what was given."""
    with pytest.raises(ValidationError) as caught:
        UserCreateRequest.model_validate(
            {"tenantToken": "t", "login": "sesame\n", "email": "sesame", "password": "sesame", "sub": ["sesame"]}
        )
    error = InvalidRequest.from_validation(caught.value)
    assert [problem.field for problem in error.problems] == ["email", "login", "password", "sub"]
    assert "sesame" not in str(error)
    assert "Value error" not in str(error)
