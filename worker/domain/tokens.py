"""Who a token belongs to, and which user a tenant may name: the checks that stand before every operation."""

from collections.abc import Collection
from contextvars import ContextVar

from shared.contracts.claims import Claims
from shared.contracts.errors import InvalidTenantToken, InvalidToken, UserNotFound
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import Session, User

#: The tenants that were proven to act in the request at hand, for its line in the log.
acting_tenants: ContextVar[set[str] | None] = ContextVar("acting_tenants", default=None)


def note_acting(tenant: str) -> None:
    """This tenant has proven who it is, by its token or its password."""
    if (acting := acting_tenants.get()) is not None:
        acting.add(tenant)


async def tenant_of(tenant_token: str, ports: Ports) -> str:
    """The id of the tenant whose live session this token is. Raises `InvalidTenantToken`."""
    return (await tenant_session_of(tenant_token, ports)).tenant


async def tenant_session_of(tenant_token: str, ports: Ports) -> Session:
    """The live session of a tenant that this token is. Raises `InvalidTenantToken`."""
    sessions = await sessions_of([tenant_token], ports)
    return checked_tenant(tenant_token, sessions, ports)


async def session_in_turn(tenant_token: str, call: Call, ports: Ports) -> Session:
    """The live session of a tenant that this token is, once it is that tenant's turn.

    Raises `InvalidTenantToken`, and what `Turns.enter` raises.
    """
    ports.turns.refuse_early(ports.tokens.session_id(tenant_token))
    session = await tenant_session_of(tenant_token, ports)
    await ports.turns.enter(session.tenant, call, session.id)
    return session


async def sessions_of(tokens: Collection[str], ports: Ports) -> dict[str, Session]:
    """The session that each token claims to belong to, by token, in one query. Nothing is proven yet."""
    ids = {token: session_id for token in tokens if (session_id := ports.tokens.session_id(token))}
    sessions = await ports.sessions.find(sorted(set(ids.values()))) if ids else {}
    return {token: sessions[session_id] for token, session_id in ids.items() if session_id in sessions}


async def user_of(tenant: str, login: str, ports: Ports) -> User:
    """The tenant's user of this login. Raises `UserNotFound`."""
    user = await ports.users.find(tenant, login)
    if user is None:
        raise UserNotFound
    return user


def checked_tenant(token: str, sessions: dict[str, Session], ports: Ports) -> Session:
    """The session of the tenant token that a request is made with, proven. Raises `InvalidTenantToken`."""
    try:
        session, _ = checked_tenant_subject(token, sessions, ports)
    except InvalidToken:
        raise InvalidTenantToken from None
    note_acting(session.tenant)
    return session


def checked_user(token: str, tenant: str, sessions: dict[str, Session], ports: Ports) -> tuple[Session, Claims]:
    """The session and claims of a user token, proven to be this tenant's. Raises `InvalidToken`."""
    session, claims = _checked(token, sessions, ports)
    if session.user is None or session.tenant != tenant:
        raise InvalidToken
    return session, claims


def checked_tenant_subject(token: str, sessions: dict[str, Session], ports: Ports) -> tuple[Session, Claims]:
    """Session and claims of a tenant token that is asked about, not acted with. Raises `InvalidToken`."""
    session, claims = _checked(token, sessions, ports)
    if session.user is not None:
        raise InvalidToken
    return session, claims


def _checked(token: str, sessions: dict[str, Session], ports: Ports) -> tuple[Session, Claims]:
    session = sessions.get(token)
    if session is None or session.revocation is not None:
        raise InvalidToken
    return session, ports.tokens.verify(token, session, ports.clock.now())
