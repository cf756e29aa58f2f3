"""How values look on the wire: the model every message derives from, and the field types they share.

JSON members are camelCase, Python attributes snake_case. Unknown members are ignored, so that older and newer
peers understand each other. Validation errors never repeat the input: it may be a password.
"""

import json
import re
import unicodedata
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from . import names

#: Longest JWT ever taken for one: a scope at its limit and every other claim at its limit fit in it, even of
#: characters that JSON escapes as twelve.
MAX_TOKEN_CHARS = 20_480
#: Scopes travel in every token, which travels in every request; HTTP servers commonly stop at 8 KiB of headers.
MAX_SCOPE_CHARS = 4_096
#: JSON parsers on both sides stop far above this; no scope needs more.
MAX_SCOPE_DEPTH = 16
#: NIST SP 800-63B-4, 3.1.1.2: at least 8 characters where a second factor exists; the length counts code points.
#: Of the normalised password, as that is what is hashed.
MIN_PASSWORD_CHARS = 8
#: OWASP Password Storage Cheat Sheet: bound the input of a slow hash; 64 is the least a verifier should accept.
MAX_PASSWORD_CHARS = 256
#: NFKC makes at most four code points into one: longer is no password, and is not normalised to find that out.
MAX_TYPED_PASSWORD_CHARS = 4 * MAX_PASSWORD_CHARS
#: RFC 5321, 4.5.3.1.3: a path of 256 octets, less its angle brackets.
MAX_EMAIL_CHARS = 254
MAX_NAME_CHARS = 256
#: Ids of requests come from outside and go into logs and headers, so they are short and plain.
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

#: WHATWG URL, "path state": browsers and many libraries take these for steps in a path, also spelled `%2E`.
DOT_SEGMENTS = (".", "..")

#: The part of the rules for new logins that a schema can tell: outer spaces, and what is reserved.
_NOT_A_LOGIN = "^ | $|^[Tt][Ee][Nn][Aa][Nn][Tt]:"

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class WireModel(BaseModel):
    """A message or a part of one."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    def to_json(self) -> bytes:
        """The message body. Members never given are left out: to PATCH, absent and null are different things."""
        return self.model_dump_json(exclude_unset=True).encode()

    def log_fields(self) -> dict[str, object]:
        """What of this message may stand in a log, by name. Nothing, unless a message says otherwise."""
        return {}


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must contain printable characters only")
    return value


def _new_login(value: str) -> str:
    login = names.nfc(value)
    if login in DOT_SEGMENTS:
        raise ValueError("must not be . or .. alone, which URLs cannot hold")
    if len(login) > MAX_NAME_CHARS:  # a few characters are two or three in NFC
        raise ValueError(f"must not be longer than {MAX_NAME_CHARS} characters in Unicode form NFC")
    if login.strip(" ") != login:
        raise ValueError("must not begin or end with a space")
    if names.is_reserved(login):
        raise ValueError(f"must not begin with `{names.RESERVED_PREFIX}`, which is reserved for tenants")
    return _displayed(login)


def _displayed(value: str) -> str:
    if names.has_ignorable(value):
        raise ValueError("must not contain code points that are not displayed, such as variation selectors")
    return value


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(_printable(value)):
        raise ValueError("must be an email address: name@domain")
    return value


def _tenant_email(value: str) -> str:
    email = _email(value).lower()
    if len(email) > MAX_EMAIL_CHARS:  # in lower case, some letters are two
        raise ValueError(f"must not be longer than {MAX_EMAIL_CHARS} characters in lower case")
    return email


def _new_tenant_email(email: str) -> str:
    # Not normalised: a tenant is found by its email exactly as it is stored, so it had better know how that is spelled.
    if names.nfc(email) != email:
        raise ValueError("must be in Unicode form NFC")
    return _displayed(email)


def _unicode(value: str) -> str:
    """JSON can spell half a character, and Python keeps it; nobody could send it on."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be Unicode text, without lone surrogates") from None
    return value


def _depth(value: Any) -> int:
    """Nesting of a JSON value, without recursion: the value may be hostile."""
    depth, level = 0, [value]
    while level := [
        inner
        for outer in level
        if isinstance(outer, dict | list)
        for inner in (outer.values() if isinstance(outer, dict) else outer)
    ]:
        depth += 1
        if depth > MAX_SCOPE_DEPTH:
            break
    return depth


def _scope(value: JsonValue) -> JsonValue:
    if not isinstance(value, str | dict | None):
        raise ValueError("must be a string or an object")
    if _depth(value) > MAX_SCOPE_DEPTH:
        raise ValueError(f"must not be nested deeper than {MAX_SCOPE_DEPTH} levels")
    try:
        size = len(json.dumps(value, allow_nan=False))
    except ValueError as error:
        raise ValueError("must hold finite numbers only") from error
    if size > MAX_SCOPE_CHARS:
        raise ValueError(f"must not be longer than {MAX_SCOPE_CHARS} characters as JSON")
    _unicode(json.dumps(value, ensure_ascii=False))
    return value


def _password(least: int) -> tuple[AfterValidator, WithJsonSchema]:
    """A password in its NFKC form, with its length judged in words that do not tell how long the one given was.

    NIST SP 800-63B-4, 3.1.1.2: the same password typed on two keyboards may be two sequences of code points. Here is
    the one place that normalises; workers validate what they receive, so they get it normalised, whoever sent it.
    """

    def normalised(secret: SecretStr) -> SecretStr:
        password = _unicode(secret.get_secret_value())
        if len(password) <= MAX_TYPED_PASSWORD_CHARS:
            password = unicodedata.normalize("NFKC", password)
        if not least <= len(password) <= MAX_PASSWORD_CHARS:
            raise ValueError(f"must have {least} to {MAX_PASSWORD_CHARS} characters")
        return SecretStr(password)

    length = {"minLength": least, "maxLength": MAX_PASSWORD_CHARS}
    return AfterValidator(normalised), WithJsonSchema(
        {"type": "string", "format": "password", "writeOnly": True, **length}
    )


class OrAbsent:
    """Of a member that may be left out and not be null: `Annotated[Email | None, OrAbsent()] = None`.

    None stands for its absence in Python, so the schema does not offer null. A union that hides None from the schema
    would do the same, but names a bad field after the union's parts.
    """

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        nullable = handler(schema)
        (described,) = (part for part in nullable["anyOf"] if part != {"type": "null"})
        return {**{name: value for name, value in nullable.items() if name != "anyOf"}, **described}


Secret = Annotated[
    SecretStr,
    # On the wire a secret is itself; everywhere else it prints as asterisks.
    PlainSerializer(lambda secret: secret.get_secret_value(), return_type=str, when_used="json"),
]
#: A password being set. Any characters; length is the only composition rule (NIST SP 800-63B-4). What else it may not
#: be, such as a common one, is for the worker to say.
NewPassword = Annotated[Secret, *_password(MIN_PASSWORD_CHARS)]
#: A password being tried. A short one is merely wrong.
TriedPassword = Annotated[Secret, *_password(1)]
#: A JWT as it came. Its length is judged where it is judged as a token, so that a huge one is an invalid token.
Token = Annotated[str, Field(min_length=1, repr=False)]
Email = Annotated[str, StringConstraints(max_length=MAX_EMAIL_CHARS), AfterValidator(_email)]
#: A tenant's email identifies it, so it has one spelling: lower case.
TenantEmail = Annotated[str, StringConstraints(max_length=MAX_EMAIL_CHARS), AfterValidator(_tenant_email)]
#: A short text of printable characters, spaces and `/` included.
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS), AfterValidator(_printable)]
#: The email of a new tenant. Where a tenant is named it is a `TenantEmail`, since others may be there already.
NewTenantEmail = Annotated[TenantEmail, AfterValidator(_new_tenant_email)]
#: The login of a new user, in NFC. Every client can name it in a path (`DELETE /user/%2E/sessions` may leave a client
#: as `DELETE /user/sessions`), and no two of them differ in what is not displayed alone. Where a user is named it is a
#: `Name`, since other logins may be there already.
NewLogin = Annotated[
    Name,
    AfterValidator(_new_login),
    Field(json_schema_extra={"not": {"anyOf": [{"enum": list(DOT_SEGMENTS)}, {"pattern": _NOT_A_LOGIN}]}}),
]
#: Part of a name to look for, or nothing.
Search = Annotated[str, StringConstraints(max_length=MAX_NAME_CHARS), AfterValidator(_printable)]
#: What a user may do, in the tenant's own words: a string (`"company:read company:write"`), an object, or nothing.
Scope = Annotated[
    JsonValue,
    AfterValidator(_scope),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "null"}]}),
]
#: A moment, in milliseconds since the epoch.
Milliseconds = int
