"""user.update: change an account. A new password ends every session of the user."""

from typing import Annotated, Literal, Self

from pydantic import field_validator, model_validator

from .errors import InvalidTenantToken, UserNotFound
from .operation import Lane, Operation, TenantRequest
from .user import User
from .wire import Email, Name, NewPassword, OrAbsent, Scope, WireModel


class UserUpdateBody(WireModel):
    """A JSON merge patch (RFC 7396): absent members stay as they are; `scope: null` removes the scope."""

    email: Annotated[Email | None, OrAbsent()] = None
    password: Annotated[NewPassword | None, OrAbsent()] = None
    sub: Annotated[Name | None, OrAbsent()] = None
    scope: Scope = None
    """Tokens keep the one of their login until their session ends: end the sessions to take a scope away at once."""
    unlock: Annotated[Literal[True] | None, OrAbsent()] = None
    """Lets strangers try passwords of the user again, who had to stop after too many wrong ones in a row; a new
    password does so, too."""

    @field_validator("email", "password", "sub", "unlock", mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("must not be null; leave it out to keep it")
        return value

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if not self.model_fields_set & {"email", "password", "sub", "scope", "unlock"}:
            raise ValueError("at least one of email, password, sub, scope, unlock is expected")
        return self


class UserUpdateRequest(UserUpdateBody, TenantRequest):
    login: Name


USER_UPDATE = Operation(
    "user.update", Lane.PASSWORD, UserUpdateRequest, User, (InvalidTenantToken, UserNotFound), repeatable=True
)
