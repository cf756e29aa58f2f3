"""The operation `auth.login`."""

from shared.contracts.auth_login import AUTH_LOGIN, AuthLoginReply, AuthLoginRequest
from shared.contracts.errors import InvalidCredentials, Unavailable
from shared.contracts.events import RevocationReason
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import principal_in_turn
from worker.domain.session_opening import open_user_session
from worker.domain.session_revocation import enforce_session_limit, revoke_on_request
from worker.domain.throttling import throttled_attempt, users_of


async def auth_login(request: AuthLoginRequest, call: Call, ports: Ports) -> AuthLoginReply:
    """Check a user's password and create a session.

    An unknown login costs the same work and gets the same reply as a wrong password.
    """
    opener = (await principal_in_turn(AUTH_LOGIN, request, call, ports)).session
    call.audit_facts.tenant = opener.tenant
    password = request.password.get_secret_value()
    # Attempts are counted under the stored spelling. Otherwise each spelling of a login would allow
    # more attempts.
    login = call.audit_facts.login = await ports.users.spelling(opener.tenant, request.login)
    async with throttled_attempt(users_of(opener.tenant), login, request.client_address, call, ports):
        user = await ports.users.find(opener.tenant, login)
        right = await ports.hasher.verify(user.password_hash if user else None, password)
        if user is None or not right:
            raise InvalidCredentials
    if ports.hasher.is_stale(user.password_hash):
        await ports.users.replace_hash(user, await ports.hasher.hash(password))
    session, token = await open_user_session(user, request.device_id, opener, call, ports)
    # The password may have changed, or the user or tenant may have been deleted, since they were
    # read. Then either this check sees it, or the revocation sees the session just stored.
    if not (await ports.users.is_current(user) and await ports.tenants.admits(user.tenant, opener.tenant_generation)):
        key = idempotency_key_of(AUTH_LOGIN, call, ports)
        await revoke_on_request(session, RevocationReason.ALL_REVOKED, key, call, ports)
        raise Unavailable
    call.audit_facts.session = session.id
    await enforce_session_limit(session, ports)
    ports.activity.seen(session, session.issued_at)
    return AuthLoginReply(access_token=token)
