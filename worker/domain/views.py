"""How stored records look on the wire."""

from datetime import datetime

from shared.contracts import session_list, user
from worker.domain.records import Session, User


def public_user(stored: User) -> user.User:
    """A user as its tenant sees it: everything but the password."""
    return user.User(
        id=stored.id,
        login=stored.login,
        email=stored.email,
        tenant=stored.tenant,
        scope=stored.scope,
        sub=stored.sub,
        registration_date=milliseconds(stored.registered_at),
        last_activity=milliseconds(stored.last_active_at),
    )


def public_session(stored: Session) -> session_list.Session:
    """A user's session as its tenant sees it: everything but the secret."""
    return session_list.Session(
        id=stored.id,
        device_id=stored.device_id or "",
        issued_date=milliseconds(stored.issued_at),
        expiration_date=milliseconds(stored.expires_at),
    )


def milliseconds(moment: datetime) -> int:
    """Since the epoch."""
    return int(moment.timestamp() * 1000)
