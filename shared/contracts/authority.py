"""The proof needed to disable, enable or delete a tenant.

The tenant gives its token and its password, which do not suffice to enable it. An operator gives its own
token and names the tenant. The holder of the registration key gives that key and the tenant's email.
"""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from .address import ClientAddress
from .wire import Name, OrAbsent, Secret, TenantEmail, TriedPassword, WireModel

#: The members that can be part of a proof, in the order of the allowed pairs below.
_PROOFS = ("password", "tenant_token", "on_tenant", "email", "registration_key")
_REGISTRATION_KEY = ("email", "registration_key")
_OPERATOR = ("tenant_token", "on_tenant")


class AuthorityBody(WireModel):
    """The part of the proof in the HTTP body: the tenant's password, or its email from the holder of
    the registration key."""

    password: Annotated[TriedPassword | None, OrAbsent()] = None
    """The tenant's password, together with its token."""
    email: Annotated[TenantEmail | None, OrAbsent()] = None
    """The tenant's email, together with the registration key."""


class OperatorAuthority(WireModel):
    """The proof of an operator, or of the holder of the registration key."""

    allowed: ClassVar = {_REGISTRATION_KEY, _OPERATOR}
    expected: ClassVar = "provide either registrationKey and email, or an operator's tenantToken and onTenant"

    email: Annotated[TenantEmail | None, OrAbsent()] = None
    """The tenant's email, together with the registration key."""
    tenant_token: Annotated[str | None, Field(min_length=1, repr=False), OrAbsent()] = None
    on_tenant: Annotated[Name | None, OrAbsent()] = None
    """The id of the tenant, together with an operator's token."""
    registration_key: Annotated[Secret | None, OrAbsent()] = None
    client_address: ClientAddress | None = None
    """The caller's IP address as the edge sees it. Workers ignore it in requests that a service
    sends."""

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        given = tuple(name for name in _PROOFS if getattr(self, name, None) is not None)
        if given not in self.allowed:
            raise ValueError(self.expected)
        return self


class AuthorityRequest(AuthorityBody, OperatorAuthority):
    """The proof of any of them."""

    allowed: ClassVar = {_REGISTRATION_KEY, _OPERATOR, ("password", "tenant_token")}
    expected: ClassVar = (
        "provide tenantToken and password, registrationKey and email, or an operator's tenantToken and onTenant"
    )
