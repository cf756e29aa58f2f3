"""Wrong secrets of API keys: throttled by origin, and never in the way of a right one."""

from datetime import timedelta

import pytest

from shared.contracts.api_key import new_api_key
from shared.contracts.auth_verify import AUTH_VERIFY
from shared.contracts.errors import InvalidTenantToken, Throttled
from shared.contracts.principal_get import PRINCIPAL_GET
from tests.fakes import NOW, FakeHasher
from tests.unit.worker.in_memory import InMemoryWorker
from worker.domain.key_guesses import LIMIT, MAX_ORIGINS, KeyGuesses

ATTACKER, OTHER = "192.0.2.1", "192.0.2.2"


async def guess(worker: InMemoryWorker, key: str, address: str | None = ATTACKER, service: str | None = None) -> None:
    """Send a request with a wrong secret of this key, and raise its refusal."""
    request = {"tenantToken": new_api_key(key), **({"callerAddress": address} if address else {})}
    if service is None:
        await worker.call(PRINCIPAL_GET, **request)
    else:
        await worker.call_as(service, PRINCIPAL_GET, **request)


async def guess_until_throttled(worker: InMemoryWorker, key: str, **origin: str | None) -> None:
    for _ in range(LIMIT.undelayed):
        with pytest.raises(InvalidTenantToken):
            await guess(worker, key, **origin)
    with pytest.raises(Throttled):
        await guess(worker, key, **origin)


async def test_wrong_secrets_are_throttled_for_their_origin_only(worker: InMemoryWorker, shop: str) -> None:
    """Another origin, and the right secret from the same one, are not delayed."""
    issued = await worker.create_key(shop)
    await guess_until_throttled(worker, issued.key.id)
    assert await worker.call(PRINCIPAL_GET, tenantToken=issued.api_key, callerAddress=ATTACKER)
    with pytest.raises(InvalidTenantToken):
        await guess(worker, issued.key.id, OTHER)
    with pytest.raises(Throttled) as refused:
        await guess(worker, issued.key.id)
    assert refused.value.retry_after_seconds == 1


async def test_guesses_at_several_keys_are_counted_together(worker: InMemoryWorker, shop: str) -> None:
    keys = [(await worker.create_key(shop)).key.id for _ in range(LIMIT.undelayed)]
    for key in keys:
        with pytest.raises(InvalidTenantToken):
            await guess(worker, key)
    with pytest.raises(Throttled):
        await guess(worker, keys[0])


async def test_services_are_throttled_apart(worker: InMemoryWorker, shop: str) -> None:
    """The address that a service states does not count: it could state any."""
    issued = await worker.create_key(shop)
    for number in range(LIMIT.undelayed):
        with pytest.raises(InvalidTenantToken):
            await guess(worker, issued.key.id, f"192.0.2.{number}", "shop")
    with pytest.raises(Throttled):
        await guess(worker, issued.key.id, "198.51.100.1", "shop")
    with pytest.raises(InvalidTenantToken):
        await guess(worker, issued.key.id, None, "bank")


async def test_wrong_secrets_in_a_batch_are_throttled_and_delay_no_other_check(
    worker: InMemoryWorker, shop: str
) -> None:
    issued = await worker.create_key(shop)
    await worker.create(shop)
    token = await worker.login(shop)
    right = {"tenantToken": issued.api_key, "token": token, "callerAddress": ATTACKER}
    wrong = [{**right, "tenantToken": new_api_key(issued.key.id)} for _ in range(LIMIT.undelayed + 5)]
    answers = (await worker.call(AUTH_VERIFY, checks=[*wrong, right])).answers
    codes = [answer.error.code if answer.error else None for answer in answers]
    assert codes == ["invalid_tenant_token"] * LIMIT.undelayed + ["throttled"] * 5 + [None]


async def test_wrong_secret_costs_no_hash_and_no_write() -> None:
    hasher = FakeHasher()
    worker = InMemoryWorker(hasher=hasher)
    issued = await worker.create_key(await worker.register())
    work, tried, finds = hasher.work, worker.attempts.tried, len(worker.sessions.finds)
    with pytest.raises(InvalidTenantToken):
        await guess(worker, issued.key.id)
    assert (hasher.work, worker.attempts.tried) == (work, tried)
    assert len(worker.sessions.finds) == finds + 1


async def test_replaced_and_unknown_and_garbled_keys(worker: InMemoryWorker, shop: str) -> None:
    """An ended secret counts as wrong. A key that does not exist has no secret to guess."""
    issued = await worker.create_key(shop)
    unknown = issued.api_key[4:26][::-1]
    for _ in range(LIMIT.undelayed + 5):
        with pytest.raises(InvalidTenantToken):
            await guess(worker, unknown)
        with pytest.raises(InvalidTenantToken):
            await worker.call(PRINCIPAL_GET, tenantToken=issued.api_key[:-1] + "~", callerAddress=ATTACKER)
    with pytest.raises(InvalidTenantToken):
        await guess(worker, issued.key.id)


def test_waits_double_until_the_longest_and_end_with_the_window() -> None:
    guesses = KeyGuesses()
    now = NOW
    for _ in range(LIMIT.undelayed):
        assert guesses.wrong(ATTACKER, now) == timedelta()
    for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        wait = guesses.wrong(ATTACKER, now)
        assert wait == timedelta(seconds=seconds)
        now += wait
        assert guesses.wrong(ATTACKER, now) == timedelta()
    now = NOW + LIMIT.window
    assert guesses.wrong(ATTACKER, now) == timedelta()
    assert guesses.wrong(ATTACKER, now) == timedelta()


def test_origins_in_memory_are_bounded() -> None:
    guesses = KeyGuesses()
    for number in range(MAX_ORIGINS + 100):
        guesses.wrong(str(number), NOW)
    assert len(guesses._counts) == MAX_ORIGINS  # noqa: SLF001 - the bound is not visible elsewhere
