"""Views: stored records as the contracts' response models."""

from datetime import datetime

from shared.contracts import key, operator_list, session_list, user
from worker.domain.records import StoredSession, StoredUser


def public_user(stored: StoredUser) -> user.User:
    """Return the view of a user for its tenant: everything except the password hash."""
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


def public_operator(stored: StoredUser) -> operator_list.Operator:
    """Return the view of a user for operators: who it is, and its operator permissions."""
    return operator_list.Operator(
        id=stored.id, login=stored.login, email=stored.email, permissions=tuple(sorted(stored.operator_permissions))
    )


def public_session(stored: StoredSession) -> session_list.Session:
    """Return the view of a session for its tenant: nothing from which a token could be made."""
    return session_list.Session(
        id=stored.id,
        device_id=stored.device_id or "",
        issued_date=milliseconds(stored.issued_at),
        expiration_date=milliseconds(stored.expires_at),
    )


def public_key(stored: StoredSession) -> key.ApiKey:
    """Return the view of an API key for its tenant: everything except its secrets."""
    api_key = stored.key
    if api_key is None:
        raise ValueError("the session is no API key")
    return key.ApiKey(
        id=stored.id,
        name=api_key.name,
        permissions=tuple(sorted(api_key.permissions)),
        networks=api_key.networks,
        created_at=milliseconds(stored.issued_at),
        created_by=api_key.created_by,
        expires_at=milliseconds(stored.expires_at),
        last_used_at=milliseconds(api_key.used_at) if api_key.used_at else None,
    )


def milliseconds(moment: datetime) -> int:
    """Return this time in milliseconds since the epoch."""
    return int(moment.timestamp() * 1000)
