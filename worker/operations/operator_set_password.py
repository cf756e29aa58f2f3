"""The operation `operator.set_password`."""

from shared.contracts.errors import InvalidCredentials, InvalidTenantToken, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.operation import Done
from shared.contracts.operator_set_password import OPERATOR_SET_PASSWORD, OperatorSetPasswordRequest
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.new_password import store_new_password
from worker.domain.operators import operator_of
from worker.domain.password_policy import accepted_password
from worker.domain.ports import Ports
from worker.domain.principal import Principal, authenticated
from worker.domain.records import SessionKind, StoredSession, StoredUser, UserRevocation
from worker.domain.session_revocation import before_revocation, revoke_user_sessions
from worker.domain.throttling import forget_failures, throttled_attempt, users_of
from worker.domain.tokens import sessions_of


async def operator_set_password(request: OperatorSetPasswordRequest, call: Call, ports: Ports) -> Done:
    """Check the operator's password, store a new one, and revoke all its sessions in the same decision.

    Wrong passwords here and at logins are counted together. The first delivery revokes the token and replaces the
    password, so a retry is proven by the token's signature and the new password.
    """
    operator, is_live = await _operator(request, call, ports)
    session = operator.session
    call.audit_facts.tenant, call.audit_facts.login = session.tenant, session.login
    await ports.turns.enter(session.tenant, call)
    try:
        user, is_stored = await _proven(request, session, call, ports, is_live=is_live)
    except InvalidCredentials:
        if is_live:
            raise
        raise InvalidTenantToken from None
    if is_stored:
        await _revoke_older_sessions(user, call, ports)
    else:
        password = accepted_password(request.password, user.login, user.email, ports)
        key = idempotency_key_of(OPERATOR_SET_PASSWORD, call, ports)
        try:
            await store_new_password(user.tenant, user.login, password, call, ports, key=key, fields={})
        except UserNotFound:
            raise InvalidTenantToken from None
    await forget_failures(users_of(user.tenant), user.login, ports)
    return Done.now()


async def _operator(request: OperatorSetPasswordRequest, call: Call, ports: Ports) -> tuple[Principal, bool]:
    """Return the operator, and whether its session is live. It may have been revoked by a new password only."""
    sessions = await sessions_of([request.tenant_token], ports)
    try:
        return await operator_of(OPERATOR_SET_PASSWORD, request, call, ports, sessions), True
    except InvalidTenantToken:
        session = sessions.get(request.tenant_token)
        if session is None or session.kind is not SessionKind.OPERATOR or session.tenant != ports.operator_tenant:
            raise
        if session.revocation is not None and session.revocation.reason is not RevocationReason.PASSWORD_CHANGED:
            raise
        address = call.client(request.caller_address)
        operator = authenticated(request.tenant_token, before_revocation(sessions), address, ports)
        facts = call.audit_facts
        facts.actor, facts.operators_tenant = operator.actor, session.tenant
        return operator, False


async def _proven(
    request: OperatorSetPasswordRequest, session: StoredSession, call: Call, ports: Ports, *, is_live: bool
) -> tuple[StoredUser, bool]:
    """Return the user that the password proves, and whether an earlier delivery stored the new password.

    Raises `InvalidCredentials` for a wrong password.
    """
    namespace, address = users_of(session.tenant), call.client(request.caller_address)
    async with throttled_attempt(namespace, session.login, address, call, ports):
        user = await ports.users.find(session.tenant, session.login)
        if user is None or user.id != session.user:
            raise InvalidTenantToken
        is_stored = user.generation > session.generation
        if not (is_live or is_stored):
            raise InvalidTenantToken
        tried = request.password if is_stored else request.current_password
        if not await ports.hasher.verify(user.password_hash, tried.get_secret_value()):
            raise InvalidCredentials
    return user, is_stored


async def _revoke_older_sessions(user: StoredUser, call: Call, ports: Ports) -> None:
    """Carry out the decision of an earlier delivery, which may not have been able to."""
    reason = call.audit_facts.reason = RevocationReason.PASSWORD_CHANGED
    await revoke_user_sessions(UserRevocation(user.tenant, user.login, user.id, user.generation, reason), ports)
