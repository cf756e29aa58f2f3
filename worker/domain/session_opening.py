"""How a session begins: a fresh secret, stored before the token that depends on it is given away."""

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.contracts.claims import Claims
from shared.contracts.errors import Unavailable
from shared.contracts.events import RevocationReason
from worker.domain.call import Call
from worker.domain.idempotency import request_name
from worker.domain.ports import Ports
from worker.domain.records import Revocation, Session, Tenant, User
from worker.domain.tokens import note_acting

#: 192 random bits, base64url: OWASP Session Management asks for at least 64, the design for 128.
SESSION_ID_BYTES = 24
#: The entropy of the HMAC-SHA-256 key that it becomes part of (RFC 7518, 3.2).
SESSION_SECRET_BYTES = 32


async def open_tenant_session(tenant: Tenant, call: Call, ports: Ports) -> str:
    """A tenant token of a new session; that session again for the same call, while it lives.

    Raises `Unavailable` when the tenant has changed since it was read: it may have another password, or be no more.
    """
    note_acting(tenant.id)
    session = await _stored(
        _new_session(
            # Of an older generation, it has ended or is about to.
            request_name(call.message_id, tenant.generation),
            ports,
            ports.lifetimes.tenant,
            tenant=tenant.id,
            user=None,
            login=tenant.login,
            device_id=None,
            tenant_generation=tenant.generation,
        ),
        ports,
    )
    # Either this look sees what became of the tenant meanwhile, or the ending sees the session just stored.
    if not await ports.tenants.is_current(tenant):
        if ended := await ports.sessions.revoke(session, Revocation(ports.clock.now(), RevocationReason.ALL_REVOKED)):
            ports.events.announce(ended)
        raise Unavailable
    call.noted.tenant, call.noted.login, call.noted.session = tenant.id, tenant.login, session.id
    # A tenant token is meant for this service itself, hence its audience.
    return _sign(session, ports, aud=ports.tokens.issuer, sub=tenant.id, id=tenant.id, is_tenant=True)


async def open_user_session(
    user: User, device_id: str, opener: Session, call: Call, ports: Ports
) -> tuple[Session, str]:
    """A new session of a user and its token; that session again for the same call, while it lives.

    `opener` is the session of the tenant that asked for it.
    """
    session = await _stored(
        _new_session(
            # Of an older generation, it has ended or is about to; of another device, it is another login.
            request_name(call.message_id, user.generation, device_id),
            ports,
            ports.lifetimes.user,
            tenant=user.tenant,
            user=user.id,
            login=user.login,
            device_id=device_id,
            generation=user.generation,
            tenant_generation=opener.tenant_generation,
            displaces=ports.max_sessions_per_user > 0,
        ),
        ports,
    )
    optional = {} if user.scope is None else {"scope": user.scope}
    # A user token is meant for the services of its tenant.
    token = _sign(session, ports, aud=user.tenant, sub=user.sub, id=user.id, device_id=session.device_id, **optional)
    return session, token


async def _stored(session: Session, ports: Ports) -> Session:
    """The session, or the one that the same request has opened before. One that has ended since is no answer."""
    stored = await ports.sessions.add(session)
    if stored.revocation is None:
        return stored
    return await ports.sessions.add(replace(session, opened_by=request_name(session.opened_by, session.id)))


def _new_session(opened_by: str, ports: Ports, lifetime: timedelta, **owner: Any) -> Session:
    now = ports.clock.now()
    return Session(
        id=secrets.token_urlsafe(SESSION_ID_BYTES),
        secret=secrets.token_bytes(SESSION_SECRET_BYTES),
        master_key_id=ports.tokens.signing_key_id,
        issued_at=now,
        expires_at=now + lifetime,
        opened_by=opened_by,
        **owner,
    )


def _sign(session: Session, ports: Ports, **claims: Any) -> str:
    """A token of the session, with the claims of its owner as they are now."""
    return ports.tokens.sign(
        session,
        Claims(
            iss=ports.tokens.issuer,
            iat=int(session.issued_at.timestamp()),
            exp=int(session.expires_at.timestamp()),
            jti=session.id,
            login=session.login,
            tenant=session.tenant,
            **claims,
        ),
    )
