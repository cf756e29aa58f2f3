"""Values on the wire: their form, their limits, and their secrecy."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.contracts import OPERATIONS
from shared.contracts.auth_login import AuthLoginRequest
from shared.contracts.auth_verify import AuthVerifyRequest
from shared.contracts.errors import InvalidRequest
from shared.contracts.session_list import Session
from shared.contracts.tenant_login import TenantLoginRequest
from shared.contracts.tenant_register import TenantRegisterRequest
from shared.contracts.user_create import UserCreateRequest
from shared.contracts.user_delete import UserDeleteRequest
from shared.contracts.user_update import UserUpdateBody
from shared.contracts.validation import validated
from shared.contracts.wire import (
    MAX_EMAIL_CHARS,
    Email,
    Name,
    NewLogin,
    NewPassword,
    NewTenantEmail,
    Scope,
    Search,
    TenantEmail,
    TriedPassword,
    WireModel,
)

SECRET = "correct horse battery staple"


def accepts(kind: Any, value: object) -> bool:
    """Return whether the wire accepts the value; assert that a refusal does not repeat it."""
    try:
        TypeAdapter(kind, config=WireModel.model_config).validate_json(json.dumps(value))
    except ValidationError as error:
        shown = json.dumps(error.errors(include_input=False, include_url=False), default=str) + str(error)
        assert not (isinstance(value, str) and len(value) > 5 and value in shown)
        return False
    return True


def test_members_are_camel_case_on_the_wire() -> None:
    """Python code may use either name."""
    session = Session(id="1", device_id="phone", issued_date=1, expiration_date=2)
    wire = {"id": "1", "deviceId": "phone", "issuedDate": 1, "expirationDate": 2}
    assert json.loads(session.to_json()) == wire
    assert session.model_dump() == wire
    assert Session.model_validate(wire) == session


def test_unknown_member_is_ignored() -> None:
    """An older peer understands a newer one."""
    request = {"email": "shop@example.com", "password": SECRET, "captcha": {"new": True}}
    assert "captcha" not in json.loads(TenantLoginRequest.model_validate(request).to_json())


def test_member_that_was_not_set_is_not_sent() -> None:
    """A patch without `scope` must not remove the scope."""
    assert json.loads(UserUpdateBody(sub="007").to_json()) == {"sub": "007"}
    assert json.loads(UserUpdateBody(sub="007", scope=None).to_json()) == {"sub": "007", "scope": None}


REQUESTS: list[WireModel] = [
    AuthLoginRequest(tenant_token=SECRET, login="ann", password=SECRET, device_id="phone"),
    TenantLoginRequest(email="shop@example.com", password=SECRET),
    TenantRegisterRequest(email="shop@example.com", password=SECRET, registration_key=SECRET),
    UserCreateRequest(tenant_token=SECRET, email="ann@example.com", login="ann", password=SECRET),
    UserUpdateBody(password=SECRET),
    AuthVerifyRequest.model_validate({"checks": [{"tenantToken": SECRET, "token": SECRET}]}),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_secret_is_sent_but_absent_from_repr_and_log(request_: WireModel) -> None:
    assert SECRET.encode() in request_.to_json()
    assert SECRET not in repr(request_)
    assert SECRET not in str(request_)
    assert SECRET not in f"{request_.log_fields()}"
    assert type(request_).model_validate_json(request_.to_json()) == request_


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_validation_error_never_repeats_the_value(operation: Any) -> None:
    for value in (f"{SECRET}\n", [SECRET], {SECRET: SECRET}, 1_234_567_890_123):
        members = {field.alias: value for field in operation.request.model_fields.values()}
        try:
            operation.request.model_validate_json(json.dumps(members))
        except ValidationError as error:
            for shown in (str(error), repr(error), str(error.errors(include_input=False, include_url=False))):
                assert SECRET not in shown
                assert "1234567890123" not in shown


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("ann", True),
        ("a/b?c#d%20", True),
        ("$where", True),
        (" ", True),
        ("漢字 🙂", True),
        ("x" * 256, True),
        ("🙂" * 256, True),
        ("x" * 257, False),
        ("", False),
        ("a\nb", False),
        ("a\0b", False),
        ("a\u202eb", False),
        ("\ufeff", False),
        (None, False),
        (1, False),
        (["ann"], False),
        ({"$ne": None}, False),
    ],
)
def test_name_is_accepted_with_1_to_256_printable_characters(value: object, *, accepted: bool) -> None:
    assert accepts(Name, value) is accepted


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (".", False),
        ("..", False),
        ("...", True),
        (".a", True),
        ("a.b", True),
        ("a\n", False),
        ("a b", True),
        ("admin ", False),
        (" admin", False),
        (" ", False),
        ("admin\ufe0f", False),
        ("ad\u034fmin", False),
        ("ad\u200dmin", False),
        ("\u3164", False),
        ("admin\U000e0100", False),
        ("tenant:shop@example.com", False),
        ("Tenant:", False),
        ("tenant", True),
        ("e\u0301" * 128, True),
        ("\u0958" * 128, True),  # two characters in NFC, each
        ("\u0958" * 129, False),
    ],
)
def test_new_login_is_accepted_unless_it_can_be_confused(value: str, *, accepted: bool) -> None:
    """A new login must fit into a path, and must not look like another login or a tenant."""
    assert accepts(NewLogin, value) is accepted


def test_new_login_is_normalized_but_an_existing_one_is_not() -> None:
    fields = {"tenant_token": "t", "email": "ann@example.com", "password": SECRET}
    assert UserCreateRequest(login="Cafe\u0301", **fields).login == "Caf\u00e9"
    assert UserDeleteRequest(tenant_token="t", login="Cafe\u0301").login == "Cafe\u0301"


@pytest.mark.parametrize("login", ["admin ", "admin\ufe0f", "tenant:ann"])
def test_refused_login_is_explained_without_repeating_it(login: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        validated(UserCreateRequest, tenant_token="t", email="a@b", password=SECRET, login=login)
    (problem,) = refused.value.problems
    assert problem.field == "login"
    assert problem.message.startswith("must not ")
    assert login not in problem.message


@pytest.mark.parametrize(
    ("email", "new"),
    [
        ("shop@example.com", True),
        ("caf\u00e9@example.com", True),
        ("cafe\u0301@example.com", False),
        ("a\ufe0f@b", False),
    ],
)
def test_new_tenant_email_outside_nfc_or_with_invisible_characters_is_refused(email: str, *, new: bool) -> None:
    """A tenant is found by the exact email, so a silent change would lock it out."""
    assert accepts(TenantEmail, email)
    assert accepts(NewTenantEmail, email) is new


@pytest.mark.parametrize("login", [".", "..", "admin ", "admin\ufe0f", "tenant:ann"])
def test_login_of_an_earlier_version_is_accepted_unchanged(login: str) -> None:
    """Some of these logins fit into no path, and can only be used over AMQP."""
    assert UserDeleteRequest(tenant_token="t", login=login).login == login


@pytest.mark.parametrize(("value", "accepted"), [("", True), ("x" * 256, True), ("x" * 257, False), ("a\nb", False)])
def test_search_is_empty_or_part_of_a_name(value: str, *, accepted: bool) -> None:
    assert accepts(Search, value) is accepted


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("ann@example.com", True),
        ("ann+tag@xn--e1afmkfd.example", True),
        ("анна@пример.рф", True),
        ("o'hara@localhost", True),
        ("x" * 246 + "@example", True),
        ("x" * 247 + "@example", False),
        ("ann", False),
        ("@example.com", False),
        ("ann@", False),
        ("ann@@example.com", False),
        ("a@b@c", False),
        ("ann lee@example.com", False),
        ("ann@example.com\n", False),
        ("", False),
        (None, False),
    ],
)
def test_email_is_accepted_as_name_at_domain_up_to_254_characters(value: object, *, accepted: bool) -> None:
    """Only a message to it can show whether it exists."""
    assert accepts(Email, value) is accepted
    assert accepts(TenantEmail, value) is accepted


def test_tenant_email_is_lowercased_but_a_user_email_is_not() -> None:
    assert TenantLoginRequest(email="Shop@Example.COM", password=SECRET).email == "shop@example.com"
    created = UserCreateRequest(tenant_token="t", email="Ann@Example.COM", login="ann", password=SECRET)
    assert created.email == "Ann@Example.COM"


@pytest.mark.parametrize(
    ("value", "new", "tried"),
    [
        ("x" * 7, False, True),
        ("x" * 8, True, True),
        ("x" * 256, True, True),
        ("🙂" * 8, True, True),
        ("🙂" * 256, True, True),
        ("\0\n\t   \u202e ", True, True),
        ("x" * 257, False, False),
        ("e\u0301" * 256, True, True),
        ("e\u0301" * 257, False, False),
        ("\u03b1\u0313\u0300\u0345" * 256, True, True),
        ("e\u0301" * 7, False, True),
        ("\ufdfa", True, True),
        ("\ufdfa" * 15, False, False),
        ("a" + "\u0301" * 100_000, False, False),
        ("", False, False),
        (None, False, False),
        (12345678, False, False),
        (["password"], False, False),
        ("half a character: \ud83d", False, False),
    ],
)
def test_password_is_limited_by_its_nfkc_characters(value: object, *, new: bool, tried: bool) -> None:
    """A new password has 8 to 256 characters; at a login, a shorter one is accepted and merely wrong."""
    assert accepts(NewPassword, value) is new
    assert accepts(TriedPassword, value) is tried


@pytest.mark.parametrize("kind", [NewPassword, TriedPassword])
@pytest.mark.parametrize(
    ("typed", "normalised"),
    [
        ("caf\u00e9 au lait", "caf\u00e9 au lait"),
        ("cafe\u0301 au lait", "caf\u00e9 au lait"),
        ("\uff41\uff42\uff43 the rest", "abc the rest"),
        ("\u212bngstr\u00f6m", "\u00c5ngstr\u00f6m"),
        ("of\ufb01cial password", "official password"),
        ("Correct Horse 1!", "Correct Horse 1!"),
    ],
)
def test_password_is_normalized_to_nfkc(kind: Any, typed: str, normalised: str) -> None:
    """NIST SP 800-63B-4, 3.1.1.2: equivalent code points are the same password."""
    assert TypeAdapter(kind).validate_python(typed).get_secret_value() == normalised
    assert TypeAdapter(kind).validate_python(normalised).get_secret_value() == normalised


@pytest.mark.parametrize("length", [1, 7, 257, 1000])
def test_refused_password_error_does_not_reveal_its_length(length: int) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(NewPassword).validate_python("x" * length)
    (problem,) = caught.value.errors(include_input=False, include_url=False)
    assert problem["msg"] == "Value error, must have 8 to 256 characters"


def nested(depth: int) -> Any:
    scope: Any = "bottom"
    for _ in range(depth):
        scope = {"down": scope}
    return scope


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("read write", True),
        ("", True),
        ({}, True),
        (None, True),
        ({"a": {"b": [1, 2.5, None, True]}}, True),
        ({"": "", "$set": 1, "a.b": 2, "\0": 3}, True),
        ({"huge": 10**100}, True),
        (nested(16), True),
        (nested(17), False),
        ({"a": [nested(15)]}, False),
        ("x" * 4094, True),
        ("x" * 4095, False),
        ({"many": "x" * 4096}, False),
        ([], False),
        (["read"], False),
        (1, False),
        (True, False),
        ({"infinite": float("inf")}, False),
        ({"not": {"a": [float("nan")]}}, False),
        ("half a \ud83d", False),
        ({"half": ["a \ud83d"]}, False),
        ({"half a \ud83d": 1}, False),
        ({"whole": "\U0001f511"}, True),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_scope_is_limited_in_type_size_and_depth(value: object, *, accepted: bool) -> None:
    """A scope must fit into a token."""
    assert accepts(Scope, value) is accepted


def test_scope_with_extreme_nesting_is_refused() -> None:
    """Such nesting could exhaust a stack."""
    with pytest.raises(ValidationError):
        TypeAdapter(Scope).validate_json("[" * 50_000 + "]" * 50_000)
    with pytest.raises(ValidationError):
        TypeAdapter(Scope).validate_json('{"a":' * 150 + "1" + "}" * 150)


@pytest.mark.parametrize("body", [{}, {"login": "ann"}, {"unknown": 1}])
def test_patch_without_a_change_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="provide at least one of email, password, sub, scope"):
        UserUpdateBody.model_validate(body)


@pytest.mark.parametrize("member", ["email", "password", "sub"])
def test_patch_with_null_is_refused_except_for_the_scope(member: str) -> None:
    """An account without email, password or subject does not exist."""
    with pytest.raises(ValidationError, match="must not be null") as refused:
        UserUpdateBody.model_validate({member: None, "scope": "all"})
    assert [problem["loc"] for problem in refused.value.errors()] == [(member,)]
    assert UserUpdateBody.model_validate({"scope": None}).scope is None


@pytest.mark.parametrize(
    ("member", "value"), [("email", "nobody"), ("password", "short"), ("sub", ""), ("sub", 7), ("email", ["a@b"])]
)
def test_invalid_member_of_a_patch_is_reported_once(member: str, value: object) -> None:
    """The schema offers no null."""
    with pytest.raises(ValidationError) as refused:
        UserUpdateBody.model_validate({member: value})
    assert [problem["loc"] for problem in refused.value.errors()] == [(member,)]
    described = UserUpdateBody.model_json_schema()["properties"][member]
    assert described["type"] == "string"
    assert "anyOf" not in described


@pytest.mark.parametrize(("checks", "accepted"), [(0, False), (1, True), (256, True), (257, False)])
def test_batch_is_accepted_with_1_to_256_checks(checks: int, *, accepted: bool) -> None:
    given = [{"tenantToken": "t", "token": "u"}] * checks
    assert accepts(AuthVerifyRequest.model_fields["checks"].rebuild_annotation(), given) is accepted


@pytest.mark.parametrize("email", ["a" * 250 + "@b.c", "İ" * 130 + "@b", "İ" * 126 + "@b"])
def test_tenant_email_is_limited_by_its_lower_case_length(email: str) -> None:
    """Some letters become two in lower case; an accepted email must be accepted again as stored."""
    accepted = len(email.lower()) <= MAX_EMAIL_CHARS
    if accepted:
        first = TenantLoginRequest.model_validate({"email": email, "password": "p"})
        assert TenantLoginRequest.model_validate({"email": first.email, "password": "p"}) == first
    else:
        with pytest.raises(ValidationError):
            TenantLoginRequest.model_validate({"email": email, "password": "p"})
