"""An operator in a worker on fakes, and its requests about the tenant `shop`."""

from dataclasses import dataclass
from typing import Any

from shared.contracts.permissions import OPERATOR_PERMISSIONS, Permission
from tests.unit.worker.in_memory import InMemoryWorker


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
    """Log an operator with these permissions in, in an operators' tenant of its own."""
    office = await worker.register("office@example.com")
    token = await operator_in(worker, office, permissions)
    return Operator(token, (await worker.session_of(office)).tenant, (await worker.session_of(shop)).tenant)


async def operator_in(worker: InMemoryWorker, tenant_token: str, permissions: frozenset[Permission]) -> str:
    """Make this tenant the operators' tenant, log the operator olga in, and return its token."""
    worker.use_operator_tenant((await worker.session_of(tenant_token)).tenant)
    await worker.add_operator(tenant_token, "olga", permissions)
    return await worker.operator_login(tenant_token)


async def reset_code(worker: InMemoryWorker, operator: Operator) -> str:
    """Return a code with which the shop can set its password."""
    return await worker.reset_code(operator.token, operator.shop)
