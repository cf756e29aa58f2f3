"""The operation `operator.logout`."""

from shared.contracts.errors import InvalidTenantToken
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.operator_logout import OPERATOR_LOGOUT, OperatorLogoutRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.operators import operator_of
from worker.domain.ports import Ports
from worker.domain.records import SessionKind
from worker.domain.session_revocation import before_revocation, revoke_on_request
from worker.domain.tokens import sessions_of


async def operator_logout(request: OperatorLogoutRequest, call: Call, ports: Ports) -> Done:
    """Revoke the session of the operator's token durably before the reply. A retry gets the first result."""
    key = idempotency_key_of(OPERATOR_LOGOUT, call, ports)
    sessions = await sessions_of([request.tenant_token], ports)
    own = {token: session for token, session in sessions.items() if session.kind is SessionKind.OPERATOR}
    sessions |= before_revocation(own)
    session = (await operator_of(OPERATOR_LOGOUT, request, call, ports, sessions)).session
    if not await revoke_on_request(session, RevocationReason.LOGOUT, key, call, ports):
        raise InvalidTenantToken
    return Done.now()
