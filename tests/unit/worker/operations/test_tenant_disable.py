"""tenant.disable"""

from typing import Any

import pytest

from shared.contracts.errors import InvalidCredentials, InvalidTenantToken, InvalidToken, Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.tenant_disable import TENANT_DISABLE
from shared.contracts.tenant_enable import TENANT_ENABLE
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_update import TENANT_UPDATE
from shared.contracts.tenant_verify import TENANT_VERIFY
from tests.fakes import REGISTRATION_KEY, FakeHasher
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

EMAIL = "shop@example.com"
BY_KEY = {"email": EMAIL, "registrationKey": REGISTRATION_KEY}


@pytest.fixture(params=["tenant", "operator"])
def authority(request: pytest.FixtureRequest, shop: str) -> dict[str, Any]:
    """Return the authority of the tenant or of the operator."""
    return {"tenantToken": shop, "password": PASSWORD} if request.param == "tenant" else BY_KEY


@pytest.mark.usefixtures("ann")
async def test_disabling_revokes_and_announces_all_sessions_of_tenant_and_users(
    worker: InMemoryWorker, shop: str, authority: dict[str, Any]
) -> None:
    """Another tenant is not affected."""
    token, bank = await worker.login(shop), await worker.register("bank@example.com")
    await worker.create(bank)
    theirs = await worker.login(bank)
    await worker.call(TENANT_DISABLE, **authority)
    with pytest.raises(InvalidToken):
        await worker.call(TENANT_VERIFY, token=shop)
    with pytest.raises(InvalidTenantToken):
        await worker.verify(shop, token)
    ended = [(await worker.session_of(each)).id for each in (shop, token)]
    assert worker.events.reasons == dict.fromkeys(ended, RevocationReason.TENANT_DISABLED)
    assert (await worker.verify(bank, theirs)).login == "ann"


@pytest.mark.usefixtures("ann")
async def test_verification_for_a_disabled_tenant_costs_one_query(
    worker: InMemoryWorker, shop: str, authority: dict[str, Any]
) -> None:
    """The revoked sessions alone show that the tenant is disabled."""
    token = await worker.login(shop)
    await worker.call(TENANT_DISABLE, **authority)
    before = len(worker.sessions.finds)
    with pytest.raises(InvalidTenantToken):
        await worker.verify(shop, token)
    assert len(worker.sessions.finds) == before + 1


async def test_login_of_a_disabled_tenant_gets_the_answer_of_a_wrong_password(
    worker: InMemoryWorker, authority: dict[str, Any]
) -> None:
    """It reveals neither the tenant nor its state."""
    await worker.call(TENANT_DISABLE, **authority)
    answers = []
    for password in (PASSWORD, "wrong"):
        with pytest.raises(InvalidCredentials) as refused:
            await worker.call(TENANT_LOGIN, email=EMAIL, password=password)
        answers.append(refused.value.to_reply())
    assert answers[0] == answers[1]


@pytest.mark.usefixtures("ann")
async def test_enabling_does_not_restore_revoked_sessions(
    worker: InMemoryWorker, shop: str, authority: dict[str, Any]
) -> None:
    """Tenant and users log in again."""
    token = await worker.login(shop)
    await worker.call(TENANT_DISABLE, **authority)
    await worker.call(TENANT_ENABLE, **BY_KEY)
    again = (await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)).token
    with pytest.raises(InvalidToken):
        await worker.verify(again, token)
    assert await worker.verify(again, await worker.login(again))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"password": "wrong"}, InvalidCredentials),
        ({"tenantToken": "a.b.c"}, InvalidTenantToken),
    ],
)
async def test_disabling_by_the_tenant_needs_its_token_and_password(
    worker: InMemoryWorker, shop: str, fields: dict[str, str], error: type[Exception]
) -> None:
    """A refused request changes nothing."""
    with pytest.raises(error):
        await worker.call(TENANT_DISABLE, **{"tenantToken": shop, "password": PASSWORD, **fields})
    await worker.call(TENANT_VERIFY, token=shop)


async def test_disabling_by_the_operator_needs_the_registration_key(worker: InMemoryWorker, shop: str) -> None:
    """Unknown tenants get the same answer."""
    for email in (EMAIL, "nobody@example.com"):
        with pytest.raises(InvalidCredentials):
            await worker.call(TENANT_DISABLE, email=email, registrationKey="another key")
    await worker.call(TENANT_VERIFY, token=shop)


class InterruptedHasher(FakeHasher):
    """Disables the tenant during `verify`, and enables it again on request, as another worker may."""

    worker: InMemoryWorker
    meanwhile: tuple[Any, ...] = ()

    async def verify(self, password_hash: str | None, password: str) -> bool:
        right = await super().verify(password_hash, password)
        operations, self.meanwhile = self.meanwhile, ()
        for operation in operations:
            await self.worker.call(operation, **BY_KEY)
        return right


@pytest.mark.parametrize(
    "meanwhile", [(TENANT_DISABLE,), (TENANT_DISABLE, TENANT_ENABLE)], ids=["disabled", "enabled again"]
)
async def test_login_or_update_while_the_tenant_is_disabled_leaves_no_session(meanwhile: tuple[Any, ...]) -> None:
    """The login may be of a user or of the tenant."""
    hasher = InterruptedHasher()
    worker = hasher.worker = InMemoryWorker(hasher=hasher)
    shop = await worker.register(EMAIL)
    ann = await worker.create(shop)
    hasher.meanwhile = meanwhile
    with pytest.raises(Unavailable):
        await worker.login(shop)
    stored = await worker.users.find(ann.tenant, "ann")
    assert stored is not None
    assert await worker.sessions.live_of_user(stored, worker.clock.now(), 10) == []
    await worker.call(TENANT_ENABLE, **BY_KEY)
    hasher.meanwhile = meanwhile
    with pytest.raises(Unavailable):
        await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)
    await worker.call(TENANT_ENABLE, **BY_KEY)
    shop = (await worker.call(TENANT_LOGIN, email=EMAIL, password=PASSWORD)).token
    hasher.meanwhile = (TENANT_DISABLE,)
    with pytest.raises(InvalidTenantToken):
        await worker.call(TENANT_UPDATE, tenantToken=shop, currentPassword=PASSWORD)
