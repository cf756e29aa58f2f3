"""The error tree: every code is one class, and an error survives its journey."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from shared.contracts.auth_verify import VerifyAnswer
from shared.contracts.errors import (
    ERRORS,
    MAX_DETAIL_CHARS,
    MAX_DETAIL_INTEGER,
    MAX_DETAILS,
    OVERLOADED_RETRY_SECONDS,
    AuthError,
    ErrorCode,
    ErrorReply,
    FieldProblem,
    InternalError,
    InvalidRequest,
    InvalidToken,
    Overloaded,
    Temporary,
    from_reply,
)
from shared.contracts.token_introspect import TokenIntrospectReply
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


def answered(**members: Any) -> AuthError:
    """The exception of a reply that another version sent."""
    return from_reply(ErrorReply.model_validate_json(json.dumps({"message": "not now", **members})))


def test_an_unknown_code_is_a_refusal() -> None:
    """A code of a newer worker keeps its name and its text, and is none of the errors that are known."""
    error = answered(code="second_factor_required")
    assert type(error) is AuthError
    assert (error.code, str(error)) == ("second_factor_required", "not now")
    assert type(travelled(error)) is AuthError
    assert travelled(error).code == "second_factor_required"


def test_an_unknown_code_that_says_when_to_try_again_is_temporary() -> None:
    """Whoever retries what is temporary retries it too."""
    error = answered(code="moving_house", retryAfterSeconds=7)
    assert type(error) is Temporary
    assert (error.code, error.retry_after_seconds) == ("moving_house", 7)
    assert error.to_reply() == ErrorReply(code="moving_house", message="not now", retry_after_seconds=7)


def test_an_error_without_a_text_has_one_all_the_same() -> None:
    for members in ({}, {"retryAfterSeconds": 1}):
        assert str(answered(code="new", message="", **members))


@pytest.mark.parametrize("code", ["", "New", "new code", "new\n", "neu\u00e9", "1st", "a" * 65, 7, None])
def test_a_code_is_short_and_plain(code: object) -> None:
    """It stands in logs and documents of whoever gets it, so what is spelled otherwise is no error of this service."""
    with pytest.raises(ValidationError):
        answered(code=code)


def test_every_code_is_spelled_as_those_to_come() -> None:
    """A peer that is older than a code reads it."""
    for code in ErrorCode:
        assert answered(code=code).code == code
        assert answered(code=f"{code}_2").code == f"{code}_2"


def test_details_travel_with_any_error() -> None:
    """Also with one that this version knows: it may have got them since."""
    details: dict[str, bool | int | str] = {"attemptsLeft": 2, "locked": False, "step": "mail"}
    for code in (*ErrorCode, "unheard_of"):
        error = answered(code=code, details=details)
        assert error.details == travelled(error).details == details
    assert AuthError("refused", details=details).details == details
    assert answered(code="throttled").details == {}


@pytest.mark.parametrize(
    "details",
    [
        {f"name{number}": 1 for number in range(MAX_DETAILS + 1)},
        {"text": "a" * (MAX_DETAIL_CHARS + 1)},
        {"number": MAX_DETAIL_INTEGER + 1},
        {"number": 1.5},
        {"list": []},
        {"a name": 1},
        {"a" * 65: 1},
        [],
        None,
    ],
    ids=lambda details: str(details)[:30],
)
def test_details_out_of_bounds_are_left_out(details: object) -> None:
    """They are not worth losing the error that they belong to."""
    error = answered(code="throttled", retryAfterSeconds=9, details=details)
    assert (error.code, error.details) == (ErrorCode.THROTTLED, {})


def test_an_unknown_refusal_of_a_check_is_an_invalid_token() -> None:
    """Whatever a newer worker has against a token, it is not accepted, in the way that every caller knows."""
    with pytest.raises(InvalidToken, match="not now"):
        VerifyAnswer.model_validate({"error": {"code": "key_is_asleep", "message": "not now"}}).unwrap()
    with pytest.raises(Temporary) as raised:
        VerifyAnswer.model_validate(
            {"error": {"code": "moving_house", "message": "not now", "retryAfterSeconds": 7}}
        ).unwrap()
    assert raised.value.code == "moving_house"


@pytest.mark.parametrize("kind", ["DPoP", "bearer ", "N_A", 7])
def test_a_token_of_an_unknown_type_is_inactive(kind: object) -> None:
    """It may need a proof beside it, which nobody would ask for who takes it for a Bearer token."""
    reply = {"active": True, "token_type": kind, "sub": "ann", "scope": "admin"}
    assert TokenIntrospectReply.model_validate_json(json.dumps(reply)) == TokenIntrospectReply(active=False)
    known = {**reply, "token_type": "Bearer"}
    assert TokenIntrospectReply.model_validate_json(json.dumps(known)).active


def test_overloaded_without_a_retry_time_gets_each_of_them_at_random() -> None:
    """Callers that are refused together return at different times."""
    times = {Overloaded().retry_after_seconds for _ in range(1_000)}
    assert times == set(OVERLOADED_RETRY_SECONDS)
