"""An operator in a worker on fakes, and its requests about the tenant `shop`."""

from dataclasses import dataclass, replace
from typing import Any

from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission
from shared.contracts.tenant_reset import TENANT_RESET
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.test_principal import an_operator


@dataclass(frozen=True)
class Operator:
    """An operator's token, and the ids of the operators' tenant and of the shop."""

    token: str
    office: str
    shop: str

    @property
    def on_shop(self) -> dict[str, Any]:
        """The members of a request about the shop."""
        return {"tenantToken": self.token, "onTenant": self.shop}

    @property
    def on_office(self) -> dict[str, Any]:
        """The members of a request about the operators' own tenant."""
        return {"tenantToken": self.token, "onTenant": self.office}


async def operator_on(
    worker: InMemoryWorker, shop: str, permissions: frozenset[Permission] = OPERATOR_PERMISSIONS
) -> Operator:
    """Make an operator with these permissions, in an operators' tenant of its own."""
    office_token = await worker.register("office@example.com")
    office = (await worker.session_of(office_token)).tenant
    worker.ports = replace(worker.ports, operator_tenant=office)
    token = await an_operator(worker, office_token, permissions)
    return Operator(token, office, (await worker.session_of(shop)).tenant)


async def reset_code(worker: InMemoryWorker, operator: Operator) -> str:
    """Return a code with which the shop can set its password."""
    return (await worker.call(TENANT_RESET, **operator.on_shop)).code
