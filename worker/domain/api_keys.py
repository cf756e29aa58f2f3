"""API keys: their ids, their secrets, and which keys a caller may create, rotate and revoke.

A key is a session of its tenant with `StoredKey`. Only the SHA-256 of each secret is stored, so a
repeated request cannot show the first secret again: it adds another one.
"""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network, ip_network

from shared.contracts.api_key import ID_CHARS, base62, new_api_key
from shared.contracts.errors import Forbidden, KeyLimitReached, KeyNotFound, Unavailable
from shared.contracts.key import IssuedKey
from shared.contracts.key_rotate import MAX_LIVE_SECRETS
from shared.contracts.permissions import Permission
from shared.contracts.principal_get import CredentialKind
from worker.domain.call import Call
from worker.domain.identifiers import digest
from worker.domain.ports import Ports
from worker.domain.principal import Principal, secret_digest
from worker.domain.records import IDEMPOTENCY_WINDOW, IdempotencyKey, KeySecret, StoredKey, StoredSession
from worker.domain.views import public_key

#: Stored secrets of one key: live ones, and ended ones by which repeated requests are recognised.
#: More rotations than this within the window are not expected of one key.
MAX_STORED_SECRETS = 32
#: Concurrent changes of one key are retried one after another. Each adds a secret, so more rounds
#: than this end at the limit of live secrets, unless the secrets end at once.
MAX_ROUNDS = 20


def key_id(tenant: str, request: IdempotencyKey) -> str:
    """Return the id of the key that a request creates: the same each time that the request is repeated.

    The id is no secret: events and the audit trail contain it.
    """
    return base62(int(digest("api key", tenant, request.value), 16), ID_CHARS)


def new_secret(key: str, request: IdempotencyKey) -> tuple[str, KeySecret]:
    """Return a new API key of this id, and what is stored of it."""
    text = new_api_key(key)
    return text, KeySecret(secret_digest(text), request.value)


def check_bounds(caller: Principal, permissions: Collection[Permission], networks: Sequence[str]) -> None:
    """Raise `Forbidden` if the key would allow more than the caller's credential does.

    Otherwise a caller could create or rotate a key to widen its own permissions, or to leave its networks. In their own
    tenant operators also manage the keys that they log in with: otherwise nobody could revoke a leaked one.
    """
    allowed = caller.permissions
    if caller.credential is CredentialKind.OPERATOR_TOKEN and caller.tenant == caller.session.tenant:
        allowed |= {Permission.AUTH_LOGIN}
    for permission in sorted(permissions):
        if permission not in allowed:
            raise Forbidden.without(permission)
    own = caller.session.key.networks if caller.session.key else ()
    if own and not (networks and all(any(map(_is_within, itertools.repeat(each), own)) for each in networks)):
        raise Forbidden("the key must have networks within those of the credential that creates or changes it")


async def _live_key(tenant: str, key: str, ports: Ports) -> tuple[StoredSession, StoredKey]:
    """Return the tenant's live key with this id, and its part `key`. Raises `KeyNotFound`."""
    session = (await ports.sessions.find([key])).get(key)
    if session is None or session.tenant != tenant or session.key is None:
        raise KeyNotFound
    if session.revocation is not None or session.expires_at <= ports.clock.now():
        raise KeyNotFound
    return session, session.key


async def change_key(
    tenant: str, key: str, change: Callable[[StoredSession, StoredKey], StoredSession], ports: Ports
) -> StoredSession:
    """Change the secrets of a live key, and return the key as stored. No concurrent change is lost.

    Raises `KeyNotFound`, and what `change` raises.
    """
    for _ in range(MAX_ROUNDS):
        session, stored = await _live_key(tenant, key, ports)
        changed = change(session, stored)
        if await ports.sessions.replace_secrets(session, changed):
            return changed
    raise Unavailable


def with_one_more(session: StoredSession, key: StoredKey, secret: KeySecret, now: datetime) -> StoredSession:
    """Return the key with one more secret, for a repeated request. Raises `Unavailable` beyond the limit."""
    if len(_live(key.secrets, now)) >= MAX_LIVE_SECRETS:
        raise Unavailable(f"the request was repeated too often: the key has {MAX_LIVE_SECRETS} live secrets")
    return replace(session, key=replace(key, secrets=_kept(secret, key.secrets, now)))


def rotated(
    session: StoredSession, key: StoredKey, secret: KeySecret, overlap: timedelta, now: datetime
) -> StoredSession:
    """Return the key with a new secret, with an end of all others, and valid for its original time from now on.

    Raises `KeyLimitReached` beyond the limit of live secrets.
    """
    end = now + overlap
    others = [replace(each, expires_at=min(each.expires_at or end, end)) for each in key.secrets]
    if len(_live(others, now)) >= MAX_LIVE_SECRETS:
        raise KeyLimitReached(
            f"the key has {MAX_LIVE_SECRETS} live secrets; wait until one expires, or rotate with overlapSeconds 0"
        )
    changed = replace(key, secrets=_kept(secret, others, now))
    return replace(session, key=changed, expires_at=now + key.lifetime)


def issued(session: StoredSession, text: str, call: Call) -> IssuedKey:
    """Return the reply that shows a new API key, and record its session for the audit trail."""
    facts = call.audit_facts
    facts.tenant, facts.login, facts.session = session.tenant, session.login, session.id
    return IssuedKey(key=public_key(session), api_key=text)


def _kept(new: KeySecret, others: Sequence[KeySecret], now: datetime) -> tuple[KeySecret, ...]:
    """Return the secrets to store, the new one first: see `Sessions.replace_secrets`."""
    live = _live(others, now)
    ended = [each for each in others if each.expires_at and now - IDEMPOTENCY_WINDOW < each.expires_at <= now]
    return (new, *live, *ended)[:MAX_STORED_SECRETS]


def _live(secrets: Sequence[KeySecret], now: datetime) -> list[KeySecret]:
    return [each for each in secrets if each.is_live(now)]


def _is_within(inner: str, outer: str) -> bool:
    first, second = ip_network(inner), ip_network(outer)
    if isinstance(first, IPv4Network):
        return isinstance(second, IPv4Network) and first.subnet_of(second)
    return not isinstance(second, IPv4Network) and first.subnet_of(second)
