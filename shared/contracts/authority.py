"""The proof needed to disable or delete a tenant.

The tenant gives its token and its password. The operator gives the registration key and the
tenant's email.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from .address import ClientAddress
from .wire import OrAbsent, Secret, TenantEmail, TriedPassword, WireModel

#: The members that can be part of a proof, in the order of the allowed pairs below.
_PROOFS = ("password", "tenant_token", "email", "registration_key")


class AuthorityBody(WireModel):
    """The part of the proof in the HTTP body: the tenant's password, or its email from an
    operator."""

    password: Annotated[TriedPassword | None, OrAbsent()] = None
    """The tenant's password, together with its token."""
    email: Annotated[TenantEmail | None, OrAbsent()] = None
    """The tenant's email, together with the registration key."""


class AuthorityRequest(AuthorityBody):
    tenant_token: Annotated[str | None, Field(min_length=1, repr=False), OrAbsent()] = None
    registration_key: Annotated[Secret | None, OrAbsent()] = None
    client_address: ClientAddress | None = None
    """The caller's IP address as the edge sees it. Workers ignore it in requests that a service
    sends."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        given = tuple(name for name in _PROOFS if getattr(self, name) is not None)
        if given not in {("password", "tenant_token"), ("email", "registration_key")}:
            raise ValueError("provide either tenantToken and password, or registrationKey and email")
        return self
