"""Token checks that operations start with: which session a token belongs to, and which tenant acts."""

from collections.abc import Collection
from contextvars import ContextVar

from shared.contracts.claims import Claims
from shared.contracts.errors import InvalidTenantToken, InvalidToken, UserNotFound
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import StoredSession, StoredUser

#: The tenants that the current request has authenticated, for its log line.
acting_tenants: ContextVar[set[str] | None] = ContextVar("acting_tenants", default=None)


def note_acting(tenant: str) -> None:
    """Record for the log that the request authenticated this tenant, by its token or its password."""
    if (acting := acting_tenants.get()) is not None:
        acting.add(tenant)


async def tenant_of(tenant_token: str, ports: Ports) -> str:
    """Return the id of the tenant that this token authenticates. Raises `InvalidTenantToken`."""
    return (await tenant_session_of(tenant_token, ports)).tenant


async def tenant_session_of(tenant_token: str, ports: Ports) -> StoredSession:
    """Return the live tenant session of this token. Raises `InvalidTenantToken`."""
    sessions = await sessions_of([tenant_token], ports)
    return checked_tenant(tenant_token, sessions, ports)


async def session_in_turn(tenant_token: str, call: Call, ports: Ports) -> StoredSession:
    """Return the live tenant session of this token when it is the tenant's turn on the password lane.

    Raises `InvalidTenantToken`, `Overloaded` and `DeadlineExceeded`.
    """
    session = await tenant_session_of(tenant_token, ports)
    await ports.turns.enter(session.tenant, call)
    return session


async def sessions_of(tokens: Collection[str], ports: Ports) -> dict[str, StoredSession]:
    """Return the session that each token claims, by token, in one query. The tokens are not verified."""
    ids = {token: session_id for token in tokens if (session_id := ports.tokens.session_id(token))}
    sessions = await ports.sessions.find(sorted(set(ids.values()))) if ids else {}
    return {token: sessions[session_id] for token, session_id in ids.items() if session_id in sessions}


async def user_of(tenant: str, login: str, ports: Ports) -> StoredUser:
    """Return the tenant's user with this login. Raises `UserNotFound`."""
    user = await ports.users.find(tenant, login)
    if user is None:
        raise UserNotFound
    return user


def checked_tenant(token: str, sessions: dict[str, StoredSession], ports: Ports) -> StoredSession:
    """Return the verified session of the tenant token that authenticates a request. Raises `InvalidTenantToken`.

    `sessions` is the result of `sessions_of`.
    """
    try:
        session, _ = checked_tenant_subject(token, sessions, ports)
    except InvalidToken:
        raise InvalidTenantToken from None
    note_acting(session.tenant)
    return session


def checked_user(
    token: str, tenant: str, sessions: dict[str, StoredSession], ports: Ports
) -> tuple[StoredSession, Claims]:
    """Return the session and claims of a user token, verified to belong to this tenant. Raises `InvalidToken`."""
    session, claims = _checked(token, sessions, ports)
    if session.user is None or session.tenant != tenant:
        raise InvalidToken
    return session, claims


def checked_tenant_subject(
    token: str, sessions: dict[str, StoredSession], ports: Ports
) -> tuple[StoredSession, Claims]:
    """Return the session and claims of a tenant token that is the subject of a request. Raises `InvalidToken`."""
    session, claims = _checked(token, sessions, ports)
    if session.user is not None:
        raise InvalidToken
    return session, claims


def _checked(token: str, sessions: dict[str, StoredSession], ports: Ports) -> tuple[StoredSession, Claims]:
    session = sessions.get(token)
    if session is None or session.revocation is not None:
        raise InvalidToken
    return session, ports.tokens.verify(token, session, ports.clock.now())
