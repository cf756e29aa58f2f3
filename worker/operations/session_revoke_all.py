"""The operation `session.revoke_all`."""

from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.session_revoke_all import SESSION_REVOKE_ALL, SessionRevokeAllRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.session_revocation import revoke_all_sessions


async def session_revoke_all(request: SessionRevokeAllRequest, call: Call, ports: Ports) -> Done:
    """Revoke every session of a user. Succeeds if there is none. A retry does not revoke sessions created since."""
    tenant = call.audit_facts.tenant = (await principal_of(SESSION_REVOKE_ALL, request, call, ports)).tenant
    key = idempotency_key_of(SESSION_REVOKE_ALL, call, ports)
    login = call.audit_facts.login = await ports.users.spelling(tenant, request.login, key)
    await revoke_all_sessions(tenant, login, RevocationReason.ALL_REVOKED, call, ports, key=key)
    return Done.now()
