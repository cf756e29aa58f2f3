"""The operation `key.rotate`."""

from dataclasses import replace
from datetime import timedelta

from shared.contracts.errors import InvalidTenantToken
from shared.contracts.key import IssuedKey
from shared.contracts.key_rotate import KEY_ROTATE, KeyRotateRequest
from worker.domain.api_keys import change_key, check_bounds, issued, new_secret, rotated, with_one_more
from worker.domain.call import Call
from worker.domain.idempotency import idempotency_key_of
from worker.domain.ports import Ports
from worker.domain.principal import principal_of, still_holds
from worker.domain.records import StoredKey, StoredSession
from worker.domain.tenant_settings import max_key_lifetime


async def key_rotate(request: KeyRotateRequest, call: Call, ports: Ports) -> IssuedKey:
    """Give a key a new secret and end its others after the overlap. A retry gets one more secret and ends none."""
    caller = await principal_of(KEY_ROTATE, request, call, ports)
    key = idempotency_key_of(KEY_ROTATE, call, ports, [request.id, request.overlap_seconds])
    text, secret = new_secret(request.id, key)
    tenant = await ports.tenants.find(caller.tenant)
    if tenant is None:
        raise InvalidTenantToken

    def change(session: StoredSession, stored: StoredKey) -> StoredSession:
        check_bounds(caller, stored.permissions, stored.networks)
        if any(each.idempotency_key == key.value for each in stored.secrets):
            return with_one_more(session, stored, secret, key.at)
        changed = rotated(session, stored, secret, timedelta(seconds=request.overlap_seconds), key.at)
        return replace(changed, expires_at=key.at + min(stored.lifetime, max_key_lifetime(tenant)))

    session = await change_key(caller.tenant, request.id, change, ports)
    # A caller that was revoked meanwhile must not learn a secret that outlives its own.
    if not await still_holds(caller, ports):
        raise InvalidTenantToken
    return issued(session, text, call)
