"""tenant.verify"""

from shared.contracts.tenant_verify import TenantVerifyReply, TenantVerifyRequest
from worker.call import Call
from worker.operations.access import checked_tenant_subject, sessions_of
from worker.ports import Ports


async def tenant_verify(request: TenantVerifyRequest, _: Call, ports: Ports) -> TenantVerifyReply:
    """The claims of a live tenant token."""
    sessions = await sessions_of([request.token], ports)
    _session, claims = checked_tenant_subject(request.token, sessions, ports)
    return TenantVerifyReply(decoded=claims)
