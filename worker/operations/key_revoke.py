"""The operation `key.revoke`."""

from shared.contracts.errors import KeyNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.key_revoke import KEY_REVOKE, KeyRevokeRequest
from shared.contracts.operation import Done
from worker.domain.api_keys import check_bounds
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.session_revocation import before_revocation, is_revoked_by, revoke_on_request
from worker.domain.tokens import sessions_of


async def key_revoke(request: KeyRevokeRequest, call: Call, ports: Ports) -> Done:
    """Revoke a live key durably before the reply. A retry gets the first result, also if the key revoked itself."""
    key = idempotency_key_of(KEY_REVOKE, call, ports, request.id)
    sessions = await sessions_of([request.tenant_token], ports)
    own = sessions.get(request.tenant_token)
    if own is not None and own.id == request.id and is_revoked_by(key, own):
        sessions = before_revocation(sessions)
    caller = await principal_of(KEY_REVOKE, request, call, ports, sessions)
    session = (await ports.sessions.find([request.id])).get(request.id)
    if session is None or session.tenant != caller.tenant or session.key is None:
        raise KeyNotFound
    check_bounds(caller, session.key.permissions, session.key.networks)
    if session.expires_at <= key.at or not await revoke_on_request(session, RevocationReason.REVOKED, key, call, ports):
        raise KeyNotFound
    return Done.now()
