"""Who may end a tenant: the tenant, by its token and its password, or the operator, by the registration key."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from .address import ClientAddress
from .wire import OrAbsent, Secret, TenantEmail, TriedPassword, WireModel

#: In the order of the pairs that are allowed.
_PROOFS = ("password", "tenant_token", "email", "registration_key")


class AuthorityBody(WireModel):
    """What stands in a body: a tenant proves itself once more, an operator says who is meant."""

    password: Annotated[TriedPassword | None, OrAbsent()] = None
    """The tenant's, beside its token."""
    email: Annotated[TenantEmail | None, OrAbsent()] = None
    """The tenant's, beside the registration key."""


class AuthorityRequest(AuthorityBody):
    tenant_token: Annotated[str | None, Field(min_length=1, repr=False), OrAbsent()] = None
    registration_key: Annotated[Secret | None, OrAbsent()] = None
    client_address: ClientAddress | None = None
    """The caller's address as the edge saw it. Workers ignore it in a request that a service sent."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        given = tuple(name for name in _PROOFS if getattr(self, name) is not None)
        if given not in {("password", "tenant_token"), ("email", "registration_key")}:
            raise ValueError("expected is a tenant token and password, or registration key and email, and no others")
        return self
