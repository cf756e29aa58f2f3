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
    """Either way to prove that one may."""
    return {"tenantToken": shop, "password": PASSWORD} if request.param == "tenant" else BY_KEY


@pytest.mark.usefixtures("ann")
async def test_everything_of_it_ends_and_is_told(worker: InMemoryWorker, shop: str, authority: dict[str, Any]) -> None:
    """Its tokens and its users' are invalid, each with its event; another tenant notices nothing."""
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
async def test_a_verification_takes_one_query_as_ever(
    worker: InMemoryWorker, shop: str, authority: dict[str, Any]
) -> None:
    """That a tenant is disabled is known by its sessions: nothing else is looked at."""
    token = await worker.login(shop)
    await worker.call(TENANT_DISABLE, **authority)
    before = len(worker.sessions.finds)
    with pytest.raises(InvalidTenantToken):
        await worker.verify(shop, token)
    assert len(worker.sessions.finds) == before + 1


async def test_its_logins_are_refused_as_if_the_password_were_wrong(
    worker: InMemoryWorker, authority: dict[str, Any]
) -> None:
    """A stranger does not learn that there is such a tenant, nor that it is disabled."""
    await worker.call(TENANT_DISABLE, **authority)
    answers = []
    for password in (PASSWORD, "wrong"):
        with pytest.raises(InvalidCredentials) as refused:
            await worker.call(TENANT_LOGIN, email=EMAIL, password=password)
        answers.append(refused.value.to_reply())
    assert answers[0] == answers[1]


@pytest.mark.usefixtures("ann")
async def test_what_ended_stays_ended_when_it_is_enabled(
    worker: InMemoryWorker, shop: str, authority: dict[str, Any]
) -> None:
    """It logs in again, and so do its users; tokens from before are of no use."""
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
async def test_a_tenant_needs_its_token_and_its_password(
    worker: InMemoryWorker, shop: str, fields: dict[str, str], error: type[Exception]
) -> None:
    """One of them is not enough, and nothing happens."""
    with pytest.raises(error):
        await worker.call(TENANT_DISABLE, **{"tenantToken": shop, "password": PASSWORD, **fields})
    await worker.call(TENANT_VERIFY, token=shop)


async def test_an_operator_needs_the_key(worker: InMemoryWorker, shop: str) -> None:
    """Another key is refused, whether there is such a tenant or not."""
    for email in (EMAIL, "nobody@example.com"):
        with pytest.raises(InvalidCredentials):
            await worker.call(TENANT_DISABLE, email=email, registrationKey="another key")
    await worker.call(TENANT_VERIFY, token=shop)


class Interrupted(FakeHasher):
    """While it verifies, the tenant is disabled and maybe enabled again, as it may be by another worker."""

    worker: InMemoryWorker
    meanwhile: tuple[Any, ...] = ()

    async def verify(self, password_hash: str | None, password: str) -> bool:
        right = await super().verify(password_hash, password)
        operations, self.meanwhile = self.meanwhile, ()
        for operation in operations:
            await self.worker.call(operation, **BY_KEY)
        return right


@pytest.mark.parametrize("meanwhile", [(TENANT_DISABLE,), (TENANT_DISABLE, TENANT_ENABLE)], ids=["", "and enabled"])
async def test_a_login_that_races_leaves_no_session(meanwhile: tuple[Any, ...]) -> None:
    """A user's, a tenant's, or an update under way when the tenant is disabled: no session of it lives after that."""
    hasher = Interrupted()
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
