"""The operation `session.revoke`."""

from shared.contracts.errors import SessionNotFound, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.session_revoke import SESSION_REVOKE, SessionRevokeRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.session_revocation import is_revoked_by, revoke_on_request


async def session_revoke(request: SessionRevokeRequest, call: Call, ports: Ports) -> Done:
    """Revoke one live session of a user of this tenant. A retry gets the first result, even if the user was deleted."""
    tenant = call.audit_facts.tenant = (await principal_of(SESSION_REVOKE, request, call, ports)).tenant
    key = idempotency_key_of(SESSION_REVOKE, call, ports)
    login = call.audit_facts.login = await ports.users.spelling(tenant, request.login)
    user = await ports.users.find(tenant, login)
    session = (await ports.sessions.find([request.session_id])).get(request.session_id)
    # Both spellings: the session of a user that was deleted since has the login as that user was
    # stored.
    of_login = session is not None and session.tenant == tenant and session.login in (login, request.login)
    if session is None or not (of_login and is_revoked_by(key, session)):
        if user is None:
            raise UserNotFound
        if session is None or session.user != user.id or session.expires_at <= key.at:
            raise SessionNotFound
    if not await revoke_on_request(session, RevocationReason.REVOKED, key, call, ports):
        raise SessionNotFound
    return Done.now()
