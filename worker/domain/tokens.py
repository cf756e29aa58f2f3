"""Token checks that operations start with: which session a token or an API key belongs to, and whose it is."""

from collections.abc import Collection, Mapping
from contextvars import ContextVar

from shared.contracts.api_key import api_key_id
from shared.contracts.claims import Claims
from shared.contracts.errors import InvalidToken, UserNotFound
from worker.domain.ports import Ports
from worker.domain.records import SessionKind, StoredSession, StoredUser

#: The tenants that the current request has authenticated, for its log line.
acting_tenants: ContextVar[set[str] | None] = ContextVar("acting_tenants", default=None)


def note_acting(tenant: str) -> None:
    """Record for the log that the request authenticated this tenant, by its token or its password."""
    if (acting := acting_tenants.get()) is not None:
        acting.add(tenant)


async def sessions_of(tokens: Collection[str], ports: Ports) -> dict[str, StoredSession]:
    """Return the session that each token or API key claims, by token, in one query. None of them is verified."""
    ids = {token: session_id for token in tokens if (session_id := api_key_id(token) or ports.tokens.session_id(token))}
    sessions = await ports.sessions.find(sorted(set(ids.values()))) if ids else {}
    return {token: sessions[session_id] for token, session_id in ids.items() if session_id in sessions}


async def user_of(tenant: str, login: str, ports: Ports) -> StoredUser:
    """Return the tenant's user with this login. Raises `UserNotFound`."""
    user = await ports.users.find(tenant, login)
    if user is None:
        raise UserNotFound
    return user


def checked_user(
    token: str, tenant: str, sessions: Mapping[str, StoredSession], ports: Ports
) -> tuple[StoredSession, Claims]:
    """Return the session and claims of a user token, verified to belong to this tenant. Raises `InvalidToken`."""
    session, claims = _live(token, sessions, ports)
    if session.kind is not SessionKind.USER or session.tenant != tenant:
        raise InvalidToken
    return session, claims


def checked_tenant_subject(
    token: str, sessions: Mapping[str, StoredSession], ports: Ports
) -> tuple[StoredSession, Claims]:
    """Return the session and claims of a tenant token that is the subject of a request. Raises `InvalidToken`."""
    session, claims = _live(token, sessions, ports)
    if session.kind is not SessionKind.TENANT:
        raise InvalidToken
    return session, claims


def checked(token: str, session: StoredSession, ports: Ports) -> Claims:
    """Return the claims of a token of this session. Raises `InvalidToken`, but not for a revoked session."""
    return ports.tokens.verify(token, session, ports.clock.now())


def _live(token: str, sessions: Mapping[str, StoredSession], ports: Ports) -> tuple[StoredSession, Claims]:
    session = sessions.get(token)
    if session is None or session.revocation is not None:
        raise InvalidToken
    return session, checked(token, session, ports)
