"""The operation `tenant.verify`."""

from shared.contracts.tenant_verify import TenantVerifyReply, TenantVerifyRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.tokens import checked_tenant_subject, sessions_of


async def tenant_verify(request: TenantVerifyRequest, _: Call, ports: Ports) -> TenantVerifyReply:
    """Return the claims of a live tenant token. Raises `InvalidToken`."""
    sessions = await sessions_of([request.token], ports)
    _session, claims = checked_tenant_subject(request.token, sessions, ports)
    return TenantVerifyReply(decoded=claims)
