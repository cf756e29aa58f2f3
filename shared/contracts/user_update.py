"""user.update: change a user. A new password revokes all sessions of the user."""

from typing import Annotated, Literal, Self

from pydantic import field_validator, model_validator

from .errors import Forbidden, InvalidTenantToken, UserNotFound
from .operation import Lane, Operation, TenantRequest
from .permissions import Permission
from .user import User
from .wire import Email, Name, NewPassword, OrAbsent, Scope, WireModel


class UserUpdateBody(WireModel):
    """A JSON merge patch (RFC 7396): absent members do not change; `scope: null` removes the
    scope."""

    email: Annotated[Email | None, OrAbsent()] = None
    password: Annotated[NewPassword | None, OrAbsent()] = None
    sub: Annotated[Name | None, OrAbsent()] = None
    scope: Scope = None
    """Tokens keep the scope from their login. To withdraw a scope at once, revoke the user's
    sessions."""
    unlock: Annotated[Literal[True] | None, OrAbsent()] = None
    """Removes the lock that too many wrong passwords in a row from unknown places have set on the
    user. A new password removes it too."""

    @field_validator("email", "password", "sub", "unlock", mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("must not be null; leave the member out to keep its value")
        return value

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if not self.model_fields_set & {"email", "password", "sub", "scope", "unlock"}:
            raise ValueError("provide at least one of email, password, sub, scope, unlock")
        return self


class UserUpdateRequest(UserUpdateBody, TenantRequest):
    login: Name


USER_UPDATE = Operation(
    "user.update",
    Lane.PASSWORD,
    UserUpdateRequest,
    User,
    (InvalidTenantToken, Forbidden, UserNotFound),
    repeatable=True,
    audited=True,
    permission=Permission.USERS_WRITE,
)
