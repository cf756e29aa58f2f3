"""The operation `key.create`."""

import secrets
from datetime import timedelta

from shared.contracts.errors import Forbidden, InvalidTenantToken, KeyLimitReached, Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.key import IssuedKey
from shared.contracts.key_create import KEY_CREATE, MAX_KEYS, KeyCreateRequest
from worker.domain.api_keys import change_key, check_bounds, issued, key_id, new_secret, with_one_more
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import Principal, principal_of, still_holds
from worker.domain.records import IdempotencyKey, KeySecret, Revocation, StoredKey, StoredSession
from worker.domain.session_opening import SESSION_SECRET_BYTES
from worker.domain.session_revocation import revoke_and_announce
from worker.domain.tenant_settings import max_key_lifetime


async def key_create(request: KeyCreateRequest, call: Call, ports: Ports) -> IssuedKey:
    """Create an API key and return it with its secret. A retry gets the same key with one more secret.

    Raises `KeyNotFound` for a retry whose key was revoked since, `KeyLimitReached`, and `Unavailable` if the tenant or
    the creator's credential has ended since it was read.
    """
    creator = await principal_of(KEY_CREATE, request, call, ports)
    check_bounds(creator, request.permissions, request.networks)
    asked = [request.name, sorted(request.permissions), request.expires_in_days, request.networks]
    key = idempotency_key_of(KEY_CREATE, call, ports, asked)
    session_id = key_id(creator.tenant, key)
    text, secret = new_secret(session_id, key)
    stored = (await ports.sessions.find([session_id])).get(session_id)
    if stored is None:
        stored = await ports.sessions.add(await _new_key(request, creator, secret, key, ports))
    if stored.key is None or stored.key.secrets[0] != secret:  # the request is repeated
        stored = await change_key(
            creator.tenant, session_id, lambda session, its: with_one_more(session, its, secret, key.at), ports
        )
    else:
        await _check_new(stored, creator, ports)
    return issued(stored, text, call)


async def _new_key(
    request: KeyCreateRequest, creator: Principal, secret: KeySecret, key: IdempotencyKey, ports: Ports
) -> StoredSession:
    tenant = await ports.tenants.find(creator.tenant)
    if tenant is None:
        raise InvalidTenantToken
    if tenant.disabled:  # only an operator still has a credential
        raise Forbidden("the tenant is disabled")
    if len(await ports.sessions.live_keys(tenant.id, key.at, MAX_KEYS)) >= MAX_KEYS:
        raise KeyLimitReached
    by_operator = creator.session.tenant != tenant.id
    lifetime = timedelta(days=request.expires_in_days)
    return StoredSession(
        id=key_id(tenant.id, key),
        secret=secrets.token_bytes(SESSION_SECRET_BYTES),
        master_key_id=ports.tokens.signing_key_id,
        tenant=tenant.id,
        user=None,
        login=tenant.login,
        device_id=None,
        issued_at=key.at,
        expires_at=key.at + min(lifetime, max_key_lifetime(tenant)),
        idempotency_key=key.value,
        # As a user's session: a decision that ends the creator's session ends the key, if it includes keys.
        tenant_generation=tenant.generation if by_operator else creator.session.tenant_generation,
        key=StoredKey(
            name=request.name,
            permissions=request.permissions,
            secrets=(secret,),
            networks=request.networks,
            created_by=creator.actor or creator.session.login,
            lifetime=lifetime,
        ),
    )


async def _check_new(stored: StoredSession, creator: Principal, ports: Ports) -> None:
    """Revoke the new key unless the tenant and the creator still may have it.

    If either has ended since it was read, then this check sees it, or the revocation and the next list see the key.
    The same holds for keys that are created at the same time, so there are never more than the maximum.
    """
    now = ports.clock.now()
    admitted = await ports.tenants.admits(stored.tenant, stored.tenant_generation) and await still_holds(creator, ports)
    if admitted and len(await ports.sessions.live_keys(stored.tenant, now, MAX_KEYS + 1)) <= MAX_KEYS:
        return
    await revoke_and_announce(stored, Revocation(now, RevocationReason.ALL_REVOKED), ports)
    raise KeyLimitReached if admitted else Unavailable
