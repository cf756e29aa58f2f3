"""The error tree: one class per code, the same on both sides of the wire."""

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
    ServiceCredentialsRejected,
    Temporary,
    from_reply,
)
from shared.contracts.token_introspect import TokenIntrospectReply
from shared.contracts.user_create import UserCreateRequest


def received_as(error: AuthError) -> AuthError:
    """Return the error as the receiver raises it."""
    return from_reply(ErrorReply.model_validate_json(error.to_reply().to_json()))


def test_error_code_has_exactly_one_class_and_text() -> None:
    assert set(ERRORS) == set(ErrorCode)
    without_a_code_on_the_wire = {Temporary, ServiceCredentialsRejected}
    tree = {*AuthError.__subclasses__(), *Temporary.__subclasses__()}
    on_the_wire = {each for each in tree if each.__module__ == AuthError.__module__}  # the edge has classes of its own
    assert {*ERRORS.values(), *without_a_code_on_the_wire} == on_the_wire
    assert len({error.text for error in ERRORS.values()}) == len(ERRORS)


@pytest.mark.parametrize("error", ERRORS.values())
def test_error_is_received_with_its_class_and_text(error: type[AuthError]) -> None:
    for sent in (error(), error("more precisely this")):
        received = received_as(sent)
        assert type(received) is error
        assert str(received) == str(sent)
        assert received.to_reply() == sent.to_reply()
    assert str(error()) == error.text


@pytest.mark.parametrize("error", Temporary.__subclasses__())
def test_temporary_error_is_received_with_its_retry_after(error: type[Temporary]) -> None:
    """An older peer may omit the value; the default is one second."""
    received = received_as(error(retry_after_seconds=42))
    assert isinstance(received, error)
    assert received.retry_after_seconds == 42
    silent = from_reply(ErrorReply(code=error.code, message="not now"))
    assert isinstance(silent, error)
    assert silent.retry_after_seconds == 1


def test_invalid_request_is_received_with_its_problems() -> None:
    problems = (FieldProblem(field="login", message="Field required"), FieldProblem(field="scope", message="too long"))
    received = received_as(InvalidRequest(problems=problems))
    assert isinstance(received, InvalidRequest)
    assert received.problems == problems
    assert str(received) == "invalid request: login: Field required; scope: too long"


def test_internal_error_is_received_with_its_incident() -> None:
    received = received_as(InternalError(incident="1234"))
    assert isinstance(received, InternalError)
    assert received.incident == "1234"
    assert str(received) == InternalError.text


def test_error_with_an_unknown_member_is_read() -> None:
    reply = ErrorReply.model_validate_json(b'{"code": "login_taken", "message": "taken", "hint": "try another"}')
    assert reply.code is ErrorCode.LOGIN_TAKEN


def test_validation_error_becomes_problems_without_values() -> None:
    with pytest.raises(ValidationError) as caught:
        UserCreateRequest.model_validate(
            {"tenantToken": "t", "login": "sesame\n", "email": "sesame", "password": "sesame", "sub": ["sesame"]}
        )
    error = InvalidRequest.from_validation(caught.value)
    assert [problem.field for problem in error.problems] == ["email", "login", "password", "sub"]
    assert "sesame" not in str(error)
    assert "Value error" not in str(error)


def answered(**members: Any) -> AuthError:
    """Return the exception for a reply of another version."""
    return from_reply(ErrorReply.model_validate_json(json.dumps({"message": "not now", **members})))


def test_unknown_code_is_received_as_a_plain_auth_error() -> None:
    """The code of a newer worker keeps its name and text."""
    error = answered(code="second_factor_required")
    assert type(error) is AuthError
    assert (error.code, str(error)) == ("second_factor_required", "not now")
    assert type(received_as(error)) is AuthError
    assert received_as(error).code == "second_factor_required"


def test_unknown_code_with_a_retry_after_is_temporary() -> None:
    """Callers that retry temporary errors retry this one."""
    error = answered(code="moving_house", retryAfterSeconds=7)
    assert type(error) is Temporary
    assert (error.code, error.retry_after_seconds) == ("moving_house", 7)
    assert error.to_reply() == ErrorReply(code="moving_house", message="not now", retry_after_seconds=7)


def test_error_with_an_empty_text_gets_a_default_text() -> None:
    for members in ({}, {"retryAfterSeconds": 1}):
        assert str(answered(code="new", message="", **members))


@pytest.mark.parametrize("code", ["", "New", "new code", "new\n", "neu\u00e9", "1st", "a" * 65, 7, None])
def test_malformed_code_is_rejected(code: object) -> None:
    """Codes appear in logs and documents of the receiver."""
    with pytest.raises(ValidationError):
        answered(code=code)


def test_code_and_future_codes_are_readable_by_older_peers() -> None:
    for code in ErrorCode:
        assert answered(code=code).code == code
        assert answered(code=f"{code}_2").code == f"{code}_2"


def test_details_are_received_with_known_and_unknown_codes() -> None:
    """A newer version may add details to a known code."""
    details: dict[str, bool | int | str] = {"attemptsLeft": 2, "locked": False, "step": "mail"}
    for code in (*ErrorCode, "unheard_of"):
        error = answered(code=code, details=details)
        assert error.details == received_as(error).details == details
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
def test_details_out_of_bounds_are_dropped(details: object) -> None:
    """The error itself is still received."""
    error = answered(code="throttled", retryAfterSeconds=9, details=details)
    assert (error.code, error.details) == (ErrorCode.THROTTLED, {})


def test_unknown_refusal_of_a_check_is_an_invalid_token() -> None:
    """Callers know this error, and the token must not be accepted."""
    with pytest.raises(InvalidToken, match="not now"):
        VerifyAnswer.model_validate({"error": {"code": "key_is_asleep", "message": "not now"}}).unwrap()
    with pytest.raises(Temporary) as raised:
        VerifyAnswer.model_validate(
            {"error": {"code": "moving_house", "message": "not now", "retryAfterSeconds": 7}}
        ).unwrap()
    assert raised.value.code == "moving_house"


@pytest.mark.parametrize("kind", ["DPoP", "bearer ", "N_A", 7])
def test_introspected_token_of_an_unknown_type_is_inactive(kind: object) -> None:
    """Such a token may require a proof that a Bearer check omits."""
    reply = {"active": True, "token_type": kind, "sub": "ann", "scope": "admin"}
    assert TokenIntrospectReply.model_validate_json(json.dumps(reply)) == TokenIntrospectReply(active=False)
    known = {**reply, "token_type": "Bearer"}
    assert TokenIntrospectReply.model_validate_json(json.dumps(known)).active


def test_overloaded_without_a_retry_time_gets_each_of_them_at_random() -> None:
    """Callers that are refused together return at different times."""
    times = {Overloaded().retry_after_seconds for _ in range(1_000)}
    assert times == set(OVERLOADED_RETRY_SECONDS)
