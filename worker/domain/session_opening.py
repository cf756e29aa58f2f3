"""Creating sessions: a session gets a fresh secret and is stored before its token is returned."""

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.contracts.claims import Claims
from shared.contracts.errors import Unavailable
from shared.contracts.events import RevocationReason
from worker.domain.call import Call
from worker.domain.identifiers import digest, new_id
from worker.domain.ports import Ports
from worker.domain.records import Revocation, StoredSession, StoredTenant, StoredUser
from worker.domain.session_revocation import revoke_and_announce
from worker.domain.tokens import note_acting

#: The entropy of the HMAC-SHA-256 key that it becomes part of (RFC 7518, 3.2).
SESSION_SECRET_BYTES = 32


def session_id(tenant: str, user: str | None, idempotency_key: str) -> str:
    """Return the id of the session that a login opens. A login that is delivered twice has the same id.

    The unique index of ids then suffices to open one session, also in a sharded collection. The id
    is no secret: it can be computed, and tokens and events contain it.
    """
    return digest(tenant, user, idempotency_key)


async def open_tenant_session(tenant: StoredTenant, call: Call, ports: Ports) -> str:
    """Create a session of the tenant and return its token. A retried request gets the same session while it is live.

    Raises `Unavailable` if the tenant has changed since it was read: its password may have changed,
    or it may be disabled or deleted.
    """
    note_acting(tenant.id)
    session = await _stored(
        _new_session(
            # The key includes the generation: a session of an older one is revoked or about to be,
            # so it must not be returned again.
            digest(call.message_id, tenant.generation),
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
    # If the tenant changed meanwhile, either this check sees it, or the revocation sees the session
    # just stored.
    if not await ports.tenants.is_current(tenant):
        await revoke_and_announce(session, Revocation(ports.clock.now(), RevocationReason.ALL_REVOKED), ports)
        raise Unavailable
    facts = call.audit_facts
    facts.tenant, facts.login, facts.session = tenant.id, tenant.login, session.id
    # Only this service accepts a tenant token, so it is the audience.
    return _sign(session, ports, aud=ports.tokens.issuer, sub=tenant.id, id=tenant.id, is_tenant=True)


async def open_user_session(
    user: StoredUser, device_id: str, opener: StoredSession, call: Call, ports: Ports, *, as_operator: bool = False
) -> tuple[StoredSession, str]:
    """Create a session of a user and return it with its token. `opener` is the tenant session that requested the login.

    With `as_operator` the token is an operator's: it has another type and audience, and no scope.

    A retried request gets the same session while it is live.
    """
    session = await _stored(
        _new_session(
            # The key includes the generation: a session of an older one is revoked or about to be.
            # It includes the device, since another device means another login.
            digest(call.message_id, user.generation, device_id, *(["operator"] if as_operator else [])),
            ports,
            ports.lifetimes.operator if as_operator else ports.lifetimes.user,
            tenant=user.tenant,
            user=user.id,
            login=user.login,
            device_id=device_id,
            generation=user.generation,
            tenant_generation=opener.tenant_generation,
            enforces_limit=ports.max_sessions_per_user > 0,
            is_operator=as_operator,
        ),
        ports,
    )
    if as_operator:
        # Only this service accepts an operator's token. Its subject is the id: a tenant may change the user's `sub`.
        return session, _sign(
            session, ports, aud=ports.tokens.issuer, sub=user.id, id=user.id, device_id=session.device_id
        )
    optional = {} if user.scope is None else {"scope": user.scope}
    # The audience of a user token is its tenant: the services of that tenant accept it.
    token = _sign(session, ports, aud=user.tenant, sub=user.sub, id=user.id, device_id=session.device_id, **optional)
    return session, token


async def _stored(session: StoredSession, ports: Ports) -> StoredSession:
    """Store the session and return it, or the one that the same request stored before unless it is revoked."""
    stored = await ports.sessions.add(session)
    if stored.revocation is None:
        return stored
    key = digest(session.idempotency_key, new_id())
    return await ports.sessions.add(
        replace(session, id=session_id(session.tenant, session.user, key), idempotency_key=key)
    )


def _new_session(
    idempotency_key: str, ports: Ports, lifetime: timedelta, *, tenant: str, user: str | None, **owner: Any
) -> StoredSession:
    now = ports.clock.now()
    return StoredSession(
        id=session_id(tenant, user, idempotency_key),
        tenant=tenant,
        user=user,
        secret=secrets.token_bytes(SESSION_SECRET_BYTES),
        master_key_id=ports.tokens.signing_key_id,
        issued_at=now,
        expires_at=now + lifetime,
        idempotency_key=idempotency_key,
        **owner,
    )


def _sign(session: StoredSession, ports: Ports, **claims: Any) -> str:
    """Return a token of the session with the current claims of its owner."""
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
