"""The wire format: the base class of all messages, and the field types that they share.

JSON members are camelCase, Python attributes are snake_case. Unknown members are ignored, so that
older and newer peers understand each other. Validation errors never repeat the input: it may be a
password.
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

#: Longest text that is accepted as a JWT. A token with the largest scope and the longest other
#: claims fits, even if JSON escapes each of their characters as twelve.
MAX_TOKEN_CHARS = 20_480
#: Every token contains its scope, and every HTTP request contains a token. HTTP servers commonly
#: limit headers to 8 KiB.
MAX_SCOPE_CHARS = 4_096
#: Far below the limits of JSON parsers on both sides; no scope needs more.
MAX_SCOPE_DEPTH = 16
#: NIST SP 800-63B-4, 3.1.1.2: at least 8 characters where a second factor exists. The length counts
#: code points of the normalised password, which is what is hashed.
MIN_PASSWORD_CHARS = 8
#: OWASP Password Storage Cheat Sheet: limit the input of a slow hash, to no less than 64
#: characters.
MAX_PASSWORD_CHARS = 256
#: Longest input that is normalised. NFKC joins at most four code points into one, so a longer input
#: cannot be a valid password.
MAX_TYPED_PASSWORD_CHARS = 4 * MAX_PASSWORD_CHARS
#: RFC 5321, 4.5.3.1.3: a path of 256 octets, without its angle brackets.
MAX_EMAIL_CHARS = 254
MAX_NAME_CHARS = 256
#: Request ids come from callers and go into logs and headers, so they are short and plain.
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

#: WHATWG URL, "path state": browsers and many libraries treat these as steps in a path, also as
#: `%2E`.
DOT_SEGMENTS = (".", "..")

#: The rules for new logins that a JSON schema can express: outer spaces and the reserved prefix.
_NOT_A_LOGIN = "^ | $|^[Tt][Ee][Nn][Aa][Nn][Tt]:"

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class WireModel(BaseModel):
    """Base class of messages and of their parts."""

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
        """Return the message body. Members that were not set are left out: PATCH distinguishes
        absent from null."""
        return self.model_dump_json(exclude_unset=True).encode()

    def log_fields(self) -> dict[str, object]:
        """Return the members of this message that may be logged. Default: none, since they may be
        secret."""
        return {}


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must contain printable characters only")
    return value


def _new_login(value: str) -> str:
    login = names.nfc(value)
    if login in DOT_SEGMENTS:
        raise ValueError("must not be `.` or `..`: URLs cannot contain them")
    if len(login) > MAX_NAME_CHARS:  # NFC makes some characters into two or three
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
    if len(email) > MAX_EMAIL_CHARS:  # some letters are two characters in lower case
        raise ValueError(f"must not be longer than {MAX_EMAIL_CHARS} characters in lower case")
    return email


def _new_tenant_email(email: str) -> str:
    # Rejected, not normalised: a tenant is looked up by its exact email, so it must know the stored
    # form.
    if names.nfc(email) != email:
        raise ValueError("must be in Unicode form NFC")
    return _displayed(email)


def _unicode(value: str) -> str:
    """Reject lone surrogates: JSON can express them and Python accepts them, but UTF-8 cannot
    encode them."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be Unicode text, without lone surrogates") from None
    return value


def _depth(value: Any) -> int:
    """Return the nesting depth of a JSON value, without recursion: the value may be hostile."""
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
    """Return the annotations of a password of at least `least` characters, normalised to NFKC.

    Two keyboards may send different code points for the same password (NIST SP 800-63B-4, 3.1.1.2).
    Only this function normalises. Workers validate every request, so they always get the normalised
    form. The error text does not reveal the length of the input.
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
    """Marks a member that may be absent but not null: `Annotated[Email | None, OrAbsent()] = None`.

    In Python, None means that the member is absent; the JSON schema does not allow null. A union
    that hides None from the schema has the same effect, but then the paths of bad fields include
    the parts of the union.
    """

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        nullable = handler(schema)
        (described,) = (part for part in nullable["anyOf"] if part != {"type": "null"})
        return {**{name: value for name, value in nullable.items() if name != "anyOf"}, **described}


Secret = Annotated[
    SecretStr,
    # Only JSON holds the secret itself; everywhere else it prints as asterisks.
    PlainSerializer(lambda secret: secret.get_secret_value(), return_type=str, when_used="json"),
]
#: A password to set. It may have any characters; length is the only composition rule (NIST SP
#: 800-63B-4). The worker checks the rest of the password policy, such as common passwords.
NewPassword = Annotated[Secret, *_password(MIN_PASSWORD_CHARS)]
#: A password to check. A short one is simply wrong.
TriedPassword = Annotated[Secret, *_password(1)]
#: A JWT as received. Verification checks its length, so that a very long one is an invalid token.
Token = Annotated[str, Field(min_length=1, repr=False)]
#: An email in a reply. JSON Schema calls addresses with non-ASCII characters `idn-email` (RFC 6531).
StoredEmail = Annotated[str, Field(json_schema_extra={"format": "idn-email"})]
Email = Annotated[StoredEmail, StringConstraints(max_length=MAX_EMAIL_CHARS), AfterValidator(_email)]
#: An email that identifies a tenant, in lower case.
TenantEmail = Annotated[StoredEmail, StringConstraints(max_length=MAX_EMAIL_CHARS), AfterValidator(_tenant_email)]
#: A short text of printable characters, including spaces and `/`.
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS), AfterValidator(_printable)]
#: The email of a new tenant. Older tenants may have emails that break these rules, so requests name
#: a tenant by `TenantEmail`.
NewTenantEmail = Annotated[TenantEmail, AfterValidator(_new_tenant_email)]
#: The login of a new user, in NFC. Every HTTP client can put it into a path, unlike `.`: some
#: clients send `DELETE /user/%2E/sessions` as `DELETE /user/sessions`. No two new logins differ
#: only in invisible code points. Older users may have logins that break these rules, so requests
#: name a user by `Name`.
NewLogin = Annotated[
    Name,
    AfterValidator(_new_login),
    Field(json_schema_extra={"not": {"anyOf": [{"enum": list(DOT_SEGMENTS)}, {"pattern": _NOT_A_LOGIN}]}}),
]
#: Part of a name to search for; may be empty.
Search = Annotated[str, StringConstraints(max_length=MAX_NAME_CHARS), AfterValidator(_printable)]
#: The rights of a user, as the tenant defines them: a string (`"company:read company:write"`), an
#: object or null.
Scope = Annotated[
    JsonValue,
    AfterValidator(_scope),
    # Without `additionalProperties`, generators of TypeScript types take the object as empty.
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}, {"type": "null"}]}),
]
#: A time in milliseconds since the epoch.
Milliseconds = int
