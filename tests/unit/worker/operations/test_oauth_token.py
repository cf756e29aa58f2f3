"""oauth.token"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.errors import Forbidden, InvalidScope, InvalidTenantToken, InvalidToken, UnsupportedTokenType
from shared.contracts.events import RevocationReason
from shared.contracts.oauth_token import OAUTH_TOKEN
from shared.contracts.permissions import OPERATOR_PERMISSIONS, TENANT_PERMISSIONS, Permission
from shared.contracts.principal_get import PRINCIPAL_GET, CredentialKind
from shared.contracts.token_introspect import TOKEN_INTROSPECT
from shared.contracts.token_revoke import TOKEN_REVOKE
from shared.contracts.user_list import USER_LIST
from tests.fakes import ISSUER, LIFETIMES, NOW
from tests.records import an_api_key
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operators import operator_in
from worker.domain.records import Revocation, StoredSession

SOME = frozenset({Permission.USERS_READ, Permission.TOKENS_VERIFY, Permission.TOKENS_REVOKE})
ALL_OF_SOME = "tokens:revoke tokens:verify users:read"


async def a_key(worker: InMemoryWorker, shop: str, **members: Any) -> tuple[StoredSession, str]:
    """Store an API key of the shop, and return it with its text."""
    session, key = an_api_key({"permissions": SOME, **members}, tenant=(await worker.session_of(shop)).tenant)
    return await worker.sessions.add(session), key


async def issue(worker: InMemoryWorker, key: str, **fields: Any) -> str:
    return (await worker.call(OAUTH_TOKEN, tenantToken=key, **fields)).access_token


@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        ({}, ALL_OF_SOME),
        ({"scope": "users:read"}, "users:read"),
        ({"scope": "users:read tokens:verify users:read"}, "tokens:verify users:read"),
    ],
)
async def test_an_api_key_gets_an_access_token_with_the_permissions_of_its_scope(
    worker: InMemoryWorker, shop: str, requested: dict[str, str], granted: str
) -> None:
    session, key = await a_key(worker, shop)
    reply = await worker.call(OAUTH_TOKEN, tenantToken=key, **requested)
    assert (reply.token_type, reply.expires_in, reply.scope) == ("Bearer", 1_800, granted)
    claims = worker.ports.tokens.verify(reply.access_token, session, NOW)
    issued_at = int(NOW.timestamp())
    assert (claims.iss, claims.aud, claims.sub, claims.client_id) == (ISSUER, ISSUER, session.id, session.id)
    assert (claims.iat, claims.exp, claims.scope) == (issued_at, issued_at + 1_800, granted)
    principal = await worker.call(PRINCIPAL_GET, tenantToken=reply.access_token)
    assert (principal.credential, principal.session_id) == (CredentialKind.ACCESS_TOKEN, session.id)
    assert " ".join(principal.permissions) == granted


async def test_reply_has_the_members_of_the_standard(worker: InMemoryWorker, shop: str) -> None:
    """RFC 6749, 5.1."""
    _, key = await a_key(worker, shop)
    reply = (await worker.call(OAUTH_TOKEN, tenantToken=key)).model_dump(mode="json", exclude_unset=True)
    assert set(reply) == {"access_token", "token_type", "expires_in", "scope"}


async def test_two_access_tokens_of_one_moment_differ(worker: InMemoryWorker, shop: str) -> None:
    _, key = await a_key(worker, shop)
    assert await issue(worker, key) != await issue(worker, key)


@pytest.mark.parametrize(
    "scope",
    [
        "users:write",
        "users:read users:write",
        "users:read nonsense",
        "tenants:read",
        "USERS:READ",
        "",
        " ",
        "users:read ",
    ],
)
async def test_scope_that_is_not_of_the_key_is_refused(worker: InMemoryWorker, shop: str, scope: str) -> None:
    """Not narrowed silently: the caller would learn it only from its later requests."""
    _, key = await a_key(worker, shop)
    with pytest.raises(InvalidScope):
        await worker.call(OAUTH_TOKEN, tenantToken=key, scope=scope)


async def test_only_an_api_key_gets_an_access_token(worker: InMemoryWorker, shop: str) -> None:
    """An access token could otherwise live on by minting the next one."""
    await worker.create(shop)
    session, key = await a_key(worker, shop)
    access_token = await issue(worker, key)
    operator = await operator_in(worker, shop, OPERATOR_PERMISSIONS)
    forged = worker.ports.tokens.sign(
        replace(session, secret=bytes(32)), worker.ports.tokens.verify(access_token, session, NOW)
    )
    for credential in (shop, access_token, operator, await worker.login(shop), forged, "nonsense", key[:-1] + "x"):
        with pytest.raises(InvalidTenantToken):
            await worker.call(OAUTH_TOKEN, tenantToken=credential)


async def test_an_access_token_lives_no_longer_than_its_key(worker: InMemoryWorker, shop: str) -> None:
    session, key = await a_key(worker, shop)
    worker.clock.advance(session.expires_at - NOW - timedelta(seconds=90))
    reply = await worker.call(OAUTH_TOKEN, tenantToken=key)
    assert reply.expires_in == 90
    worker.clock.advance(timedelta(seconds=89))
    assert await worker.call(PRINCIPAL_GET, tenantToken=reply.access_token)
    worker.clock.advance(timedelta(seconds=1))
    for credential in (reply.access_token, key):
        with pytest.raises(InvalidTenantToken):
            await worker.call(PRINCIPAL_GET, tenantToken=credential)


async def test_an_access_token_ends_after_its_lifetime(worker: InMemoryWorker, shop: str) -> None:
    _, key = await a_key(worker, shop)
    token = await issue(worker, key)
    worker.clock.advance(LIFETIMES.access_token)
    with pytest.raises(InvalidTenantToken):
        await worker.call(PRINCIPAL_GET, tenantToken=token)
    assert await issue(worker, key)


async def test_access_tokens_die_with_their_key(worker: InMemoryWorker, shop: str) -> None:
    session, key = await a_key(worker, shop)
    token = await issue(worker, key)
    await worker.sessions.revoke(session, Revocation(NOW, RevocationReason.REVOKED))
    for credential in (key, token):
        with pytest.raises(InvalidTenantToken):
            await worker.call(USER_LIST, tenantToken=credential)
    with pytest.raises(InvalidTenantToken):
        await worker.call(OAUTH_TOKEN, tenantToken=key)


async def test_an_access_token_of_before_a_narrowing_allows_no_more_than_the_key(
    worker: InMemoryWorker, shop: str
) -> None:
    """Two workers with the same keys stand for the time before and after."""
    session, key = an_api_key({"permissions": SOME}, tenant=(await worker.session_of(shop)).tenant)
    assert session.key is not None
    before = InMemoryWorker()
    await before.sessions.add(session)
    token = await issue(before, key)
    narrower = replace(session.key, permissions=frozenset({Permission.TOKENS_VERIFY}))
    await worker.sessions.add(replace(session, key=narrower))
    assert (await worker.call(PRINCIPAL_GET, tenantToken=token)).permissions == (Permission.TOKENS_VERIFY,)
    with pytest.raises(InvalidScope):
        await worker.call(OAUTH_TOKEN, tenantToken=key, scope="users:read")


@pytest.mark.parametrize(("address", "allowed"), [("10.1.2.3", True), ("10.2.0.1", False), (None, False)])
async def test_networks_of_the_key_apply_when_its_token_is_issued_and_used(
    worker: InMemoryWorker, shop: str, address: str | None, allowed: bool
) -> None:
    _, key = await a_key(worker, shop, networks=("10.1.0.0/16",))
    token = await issue(worker, key, callerAddress="10.1.0.1")
    where = {"callerAddress": address} if address else {}
    if allowed:
        assert await worker.call(PRINCIPAL_GET, tenantToken=token, **where)
        assert await issue(worker, key, **where)
    else:
        with pytest.raises(Forbidden):
            await worker.call(PRINCIPAL_GET, tenantToken=token, **where)
        with pytest.raises(Forbidden):
            await issue(worker, key, **where)


async def test_permissions_of_operators_reach_no_access_token(worker: InMemoryWorker, shop: str) -> None:
    """Even if such a key were in the database."""
    _, key = await a_key(worker, shop, permissions=frozenset(Permission))
    granted = (await worker.call(OAUTH_TOKEN, tenantToken=key)).scope.split()
    assert set(granted) == TENANT_PERMISSIONS
    _, useless = await a_key(worker, shop, permissions=frozenset({Permission.OPERATORS_WRITE}))
    with pytest.raises(InvalidScope):
        await worker.call(OAUTH_TOKEN, tenantToken=useless)


async def test_an_access_token_verifies_and_introspects_users_tokens_of_its_tenant(
    worker: InMemoryWorker, shop: str
) -> None:
    await worker.create(shop)
    _, key = await a_key(worker, shop)
    token, user_token = await issue(worker, key), await worker.login(shop)
    for credential in (key, token):
        assert (await worker.verify(credential, user_token)).login == "ann"
        assert (await worker.call(TOKEN_INTROSPECT, tenantToken=credential, token=user_token)).active


async def test_an_access_token_is_no_users_token(worker: InMemoryWorker, shop: str) -> None:
    """A gateway would pass it on to an application, which could use it here with the permissions of the key."""
    _, key = await a_key(worker, shop)
    token = await issue(worker, key)
    for subject in (key, token):
        answer = (await worker.call(AUTH_VERIFY, checks=[{"tenantToken": shop, "token": subject}])).answers[0]
        with pytest.raises(InvalidToken):
            answer.unwrap()
        introspection = await worker.call(TOKEN_INTROSPECT, tenantToken=shop, token=subject)
        assert introspection.model_dump(exclude_unset=True) == {"active": False}


async def test_token_revoke_of_a_live_key_or_access_token_is_refused_and_leaves_it_alive(
    worker: InMemoryWorker, shop: str
) -> None:
    """RFC 7009, 2.2.1: it would otherwise seem revoked. Networks of the key do not make it seem dead."""
    for networks in ((), ("10.1.0.0/16",)):
        _, key = await a_key(worker, shop, networks=networks)
        token = await issue(worker, key, callerAddress="10.1.0.1")
        for subject in (key, token):
            with pytest.raises(UnsupportedTokenType):
                await worker.call(TOKEN_REVOKE, tenantToken=shop, token=subject)
            assert await worker.call(PRINCIPAL_GET, tenantToken=subject, callerAddress="10.1.0.1")


async def test_token_revoke_of_a_dead_or_foreign_key_or_access_token_is_answered_as_of_any_invalid_token(
    worker: InMemoryWorker, shop: str
) -> None:
    """The answer does not tell whether another tenant's key is alive."""
    session, key = await a_key(worker, shop)
    token = await issue(worker, key)
    bank = await worker.register("bank@example.com")
    foreign = await a_key(worker, bank, networks=("10.1.0.0/16",))
    foreign_token = await issue(worker, foreign[1], callerAddress="10.1.0.1")
    await worker.sessions.revoke(session, Revocation(NOW, RevocationReason.REVOKED))
    for subject in (key, token, foreign[1], foreign_token):
        assert (await worker.call(TOKEN_REVOKE, tenantToken=shop, token=subject)).result == 1
