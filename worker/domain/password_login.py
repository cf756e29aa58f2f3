"""Logins with a password: the steps that logins of users and of operators share."""

from shared.contracts.auth_login import AuthLoginRequest
from shared.contracts.errors import InvalidCredentials, Unavailable
from shared.contracts.events import RevocationReason
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.operators import may_be_operator
from worker.domain.ports import Ports
from worker.domain.principal import AnyOperation, principal_in_turn
from worker.domain.session_opening import open_user_session
from worker.domain.session_revocation import enforce_session_limit, revoke_on_request
from worker.domain.throttling import throttled_attempt, users_of


async def log_in(
    operation: AnyOperation, request: AuthLoginRequest, call: Call, ports: Ports, *, as_operator: bool
) -> str:
    """Check a user's password, create a session and return its token.

    An unknown login costs the same work and gets the same reply as a wrong password. So does, at a login of an
    operator, a user that is none.
    """
    opener = (await principal_in_turn(operation, request, call, ports)).session
    call.audit_facts.tenant = opener.tenant
    password = request.password.get_secret_value()
    # Attempts are counted under the stored spelling. Otherwise each spelling of a login would allow
    # more attempts.
    login = call.audit_facts.login = await ports.users.spelling(opener.tenant, request.login)
    async with throttled_attempt(users_of(opener.tenant), login, request.client_address, call, ports):
        user = await ports.users.find(opener.tenant, login)
        # Hashed like an unknown user: a right password takes less time.
        if user is not None and as_operator and not may_be_operator(user, ports):
            user = None
        right = await ports.hasher.verify(user.password_hash if user else None, password)
        if user is None or not right:
            raise InvalidCredentials
    if ports.hasher.is_stale(user.password_hash):
        await ports.users.replace_hash(user, await ports.hasher.hash(password))
    session, token = await open_user_session(user, request.device_id, opener, call, ports, as_operator=as_operator)
    # The password may have changed, or the user or tenant may have been deleted, since they were
    # read. Then either this check sees it, or the revocation sees the session just stored.
    if not (await ports.users.is_current(user) and await ports.tenants.admits(user.tenant, opener.tenant_generation)):
        key = idempotency_key_of(operation, call, ports)
        await revoke_on_request(session, RevocationReason.ALL_REVOKED, key, call, ports)
        raise Unavailable
    call.audit_facts.session = session.id
    await enforce_session_limit(session, ports)
    ports.activity.seen(session, session.issued_at)
    return token
