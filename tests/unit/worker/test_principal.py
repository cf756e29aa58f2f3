"""Principals: which credential stands for whom, and what it may do."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.contracts.api_key import base62, new_api_key
from shared.contracts.claims import Claims
from shared.contracts.errors import AuthError, Forbidden, InvalidRequest, InvalidTenantToken, TenantNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.permissions import OPERATOR_PERMISSIONS, TENANT_PERMISSIONS, Permission
from shared.contracts.principal_get import PRINCIPAL_GET, CredentialKind
from shared.contracts.user import User
from shared.contracts.user_list import USER_LIST
from tests.fakes import ISSUER, NOW
from tests.records import a_key as a_request_key, a_session
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operators import operator_in
from worker.domain.records import KeySecret, Revocation, StoredKey, StoredSession, UserChanges

SOME = frozenset({Permission.USERS_READ, Permission.TOKENS_VERIFY})
KEY_ID = base62(1, 22)


async def a_key(
    worker: InMemoryWorker, shop: str, *, replaced_at: datetime | None = None, **members: Any
) -> tuple[StoredSession, str]:
    """Store an API key of the shop, and return it with its text."""
    text = new_api_key(KEY_ID)
    secret = KeySecret(hashlib.sha256(text.encode()).digest(), "request", replaced_at)
    key = replace(StoredKey("gateway", SOME, (secret,)), **members)
    tenant = (await worker.session_of(shop)).tenant
    session = a_session(id=KEY_ID, tenant=tenant, user=None, login="tenant:shop@example.com", device_id=None, key=key)
    await worker.sessions.add(session)
    return session, text


def access_token(worker: InMemoryWorker, session: StoredSession, scope: str, seconds: int = 60) -> str:
    claims = Claims(
        iss=ISSUER,
        aud=ISSUER,
        sub=session.tenant,
        iat=int(NOW.timestamp()),
        exp=int(NOW.timestamp()) + seconds,
        jti="random",
        id=session.tenant,
        login="gateway",
        tenant=session.tenant,
        scope=scope,
        client_id=session.id,
    )
    return worker.ports.tokens.sign(session, claims)


async def test_an_api_key_has_its_permissions_and_no_others(worker: InMemoryWorker, shop: str, ann: User) -> None:
    session, key = await a_key(worker, shop)
    principal = await worker.call(PRINCIPAL_GET, tenantToken=key)
    assert (principal.credential, principal.session_id, principal.login) == (CredentialKind.API_KEY, KEY_ID, "gateway")
    assert (principal.tenant, frozenset(principal.permissions)) == (session.tenant, SOME)
    assert [user.login for user in (await worker.call(USER_LIST, tenantToken=key)).users] == [ann.login]
    with pytest.raises(Forbidden) as refused:
        await worker.create(key, "bob")
    assert refused.value.details == {"permission": "users:write"}


@pytest.mark.parametrize("spoiled", ["another secret", "expired", "revoked", "replaced"])
async def test_an_api_key_that_is_not_live_is_refused(worker: InMemoryWorker, shop: str, spoiled: str) -> None:
    session, key = await a_key(worker, shop, replaced_at=NOW + timedelta(hours=1) if spoiled == "replaced" else None)
    assert await worker.call(PRINCIPAL_GET, tenantToken=key)
    match spoiled:
        case "another secret":
            key = new_api_key(KEY_ID)
        case "expired":
            worker.clock.advance(session.expires_at - NOW)
        case "revoked":
            await worker.sessions.revoke(session, Revocation(NOW, RevocationReason.REVOKED))
        case "replaced":
            worker.clock.advance(timedelta(hours=1))
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=key)


@pytest.mark.parametrize(
    ("address", "service", "allowed"),
    [
        ("10.1.2.3", None, True),
        ("2001:db8::1", None, True),
        ("10.2.0.1", None, False),
        (None, None, False),
        ("10.1.2.3", "shop", False),
    ],
)
async def test_an_api_key_with_networks_works_from_these_only(
    worker: InMemoryWorker, shop: str, address: str | None, service: str | None, allowed: bool
) -> None:
    """A service on the broker could state any address."""
    _, key = await a_key(worker, shop, networks=("10.1.0.0/16", "2001:db8::/32"))
    request = {"tenantToken": key, **({"callerAddress": address} if address else {})}
    send = worker.call if service is None else lambda *args, **fields: worker.call_as(service, *args, **fields)
    if allowed:
        assert await send(PRINCIPAL_GET, **request)
    else:
        with pytest.raises(Forbidden, match="this address" if address and service is None else "over HTTP"):
            await send(PRINCIPAL_GET, **request)


async def test_an_access_token_has_what_both_its_scope_and_its_key_allow(worker: InMemoryWorker, shop: str) -> None:
    session, _ = await a_key(worker, shop)
    token = access_token(worker, session, "users:read users:write tenants:read nonsense")
    principal = await worker.call(PRINCIPAL_GET, tenantToken=token)
    assert (principal.credential, principal.permissions) == (CredentialKind.ACCESS_TOKEN, (Permission.USERS_READ,))


async def test_an_access_token_dies_with_its_key_and_at_its_time(worker: InMemoryWorker, shop: str) -> None:
    session, _ = await a_key(worker, shop)
    token = access_token(worker, session, "users:read", seconds=60)
    worker.clock.advance(timedelta(seconds=59))
    assert await worker.call(PRINCIPAL_GET, tenantToken=token)
    worker.clock.advance(timedelta(seconds=1))
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=token)
    longer = access_token(worker, session, "users:read", seconds=3_600)
    assert await worker.call(PRINCIPAL_GET, tenantToken=longer)
    await worker.sessions.revoke(session, Revocation(NOW, RevocationReason.REVOKED))
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=longer)


async def test_an_operator_acts_on_the_tenant_that_its_request_names(worker: InMemoryWorker, ann: User) -> None:
    office = await worker.register("office@example.com")
    token = await operator_in(worker, office, frozenset({Permission.USERS_READ, Permission.TENANTS_READ}))
    users = (await worker.call(USER_LIST, tenantToken=token, onTenant=ann.tenant)).users
    assert [user.login for user in users] == ["ann"]
    with pytest.raises(InvalidRequest, match="X-Tenant-ID"):
        await worker.call(USER_LIST, tenantToken=token)
    with pytest.raises(TenantNotFound):
        await worker.call(USER_LIST, tenantToken=token, onTenant="nobody")


async def test_an_operators_permissions_are_those_of_its_user_now(worker: InMemoryWorker, shop: str) -> None:
    """A token is valid for days; a withdrawn permission ends at once."""
    office = await worker.register("office@example.com")
    token = await operator_in(worker, office, frozenset(Permission))
    principal = await worker.call(PRINCIPAL_GET, tenantToken=token)
    assert set(principal.permissions) == OPERATOR_PERMISSIONS
    await worker.users.change(
        principal.tenant, "olga", UserChanges({"operator_permissions": frozenset()}), a_request_key()
    )
    assert (await worker.call(PRINCIPAL_GET, tenantToken=token)).permissions == ()
    with pytest.raises(Forbidden):
        await worker.call(USER_LIST, tenantToken=token, onTenant=(await worker.session_of(shop)).tenant)


@pytest.mark.parametrize("credential", ["tenant token", "key", "access token"])
async def test_only_an_operator_may_name_another_tenant(worker: InMemoryWorker, shop: str, credential: str) -> None:
    session, key = await a_key(worker, shop)
    tokens = {"tenant token": shop, "key": key, "access token": access_token(worker, session, "users:read")}
    own, other = session.tenant, (await worker.session_of(await worker.register("bank@example.com"))).tenant
    assert await worker.call(USER_LIST, tenantToken=tokens[credential], onTenant=own)
    with pytest.raises(Forbidden):
        await worker.call(USER_LIST, tenantToken=tokens[credential], onTenant=other)


async def test_tokens_of_other_kinds_are_no_users_tokens(worker: InMemoryWorker, shop: str) -> None:
    """Neither an operator's token nor an access token passes as a user's token at a product."""
    session, key = await a_key(worker, shop)
    operator = await operator_in(worker, shop, frozenset(Permission))
    for token in (shop, key, access_token(worker, session, "users:read"), operator):
        with pytest.raises(AuthError, match="invalid token"):
            await worker.verify(shop, token)


def test_a_tenant_token_has_no_permission_over_the_installation() -> None:
    assert not {each for each in TENANT_PERMISSIONS if each.startswith(("tenants:", "operators:"))}
