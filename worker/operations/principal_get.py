"""The operation `principal.get`."""

from shared.contracts.principal_get import PRINCIPAL_GET, PrincipalGetReply, PrincipalGetRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of


async def principal_get(request: PrincipalGetRequest, call: Call, ports: Ports) -> PrincipalGetReply:
    """Return who the caller is and what it may do."""
    principal = await principal_of(PRINCIPAL_GET, request, call, ports)
    session = principal.session
    return PrincipalGetReply(
        credential=principal.credential,
        tenant=principal.tenant,
        session_id=session.id,
        login=session.key.name if session.key else session.login,
        permissions=tuple(sorted(principal.permissions)),
        exp=principal.expires,
    )
