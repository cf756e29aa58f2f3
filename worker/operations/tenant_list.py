"""The operation `tenant.list`."""

from shared.contracts.tenant_list import TENANT_LIST, TenantListReply, TenantListRequest
from shared.contracts.user_list import NO_CURSOR
from worker.domain.call import Call
from worker.domain.cursors import text_before, text_cursor
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.tenant_counts import with_counts


async def tenant_list(request: TenantListRequest, call: Call, ports: Ports) -> TenantListReply:
    """Return one page of tenants with their counts, in order of email."""
    await principal_of(TENANT_LIST, request, call, ports)
    found = await ports.tenants.page(request.q, text_before(request.cursor), request.limit + 1)
    page = found[: request.limit]
    return TenantListReply(
        tenants=await with_counts(page, ports),
        next_cursor=text_cursor(page[-1].email) if len(found) > len(page) else NO_CURSOR,
    )
