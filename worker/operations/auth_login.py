"""auth.login"""

from shared.contracts.auth_login import AUTH_LOGIN, AuthLoginReply, AuthLoginRequest
from shared.contracts.errors import InvalidCredentials, Unavailable
from shared.contracts.events import RevocationReason
from worker.domain.call import Call
from worker.domain.idempotency import mark_of
from worker.domain.ports import Ports
from worker.domain.session_opening import open_user_session
from worker.domain.session_revocation import end_displaced, end_session
from worker.domain.throttling import guarded, users_of
from worker.domain.tokens import session_in_turn


async def auth_login(request: AuthLoginRequest, call: Call, ports: Ports) -> AuthLoginReply:
    """Opens a session. An unknown login costs the same work and gets the same answer as a wrong password."""
    opener = await session_in_turn(request.tenant_token, call, ports)
    call.noted.tenant = opener.tenant
    password = request.password.get_secret_value()
    # Counted as the account spells it, or each spelling of a login would be some attempts more.
    login = call.noted.login = await ports.users.spelling(opener.tenant, request.login)
    async with guarded(users_of(opener.tenant), login, request.client_address, call, ports):
        user = await ports.users.find(opener.tenant, login)
        right = await ports.hasher.verify(user.password_hash if user else None, password)
        if user is None or not right:
            raise InvalidCredentials
    if ports.hasher.is_stale(user.password_hash):
        await ports.users.replace_hash(user, await ports.hasher.hash(password))
    session, token = await open_user_session(user, request.device_id, opener, call, ports)
    # The password may have changed, or the user or the tenant been deleted, since it was read: then either this look at
    # them sees it, or the ending sees the session just stored.
    if not (await ports.users.is_current(user) and await ports.tenants.admits(user.tenant, opener.tenant_generation)):
        await end_session(session, RevocationReason.ALL_REVOKED, mark_of(AUTH_LOGIN, call, ports), ports)
        raise Unavailable
    call.noted.session = session.id
    await end_displaced(session, ports)
    ports.activity.seen(user.id, session.issued_at)
    return AuthLoginReply(access_token=token)
