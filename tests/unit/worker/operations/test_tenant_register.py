"""tenant.register"""

import pytest

from shared.contracts.errors import EmailTaken, RegistrationForbidden
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.tenant_verify import TENANT_VERIFY
from tests.fakes import REGISTRATION_KEY, FakeHasher, FakeRegistration
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker


async def test_registration_returns_an_id_and_a_live_token(worker: InMemoryWorker) -> None:
    reply = await worker.call(TENANT_REGISTER, email="Shop@Example.com", password=PASSWORD)
    assert (reply.email, reply.login) == ("shop@example.com", "tenant:shop@example.com")
    claims = (await worker.call(TENANT_VERIFY, token=reply.token)).decoded
    assert claims.id == claims.tenant == claims.sub == reply.id


async def test_registration_stores_a_hash_and_not_the_password(worker: InMemoryWorker) -> None:
    await worker.call(TENANT_REGISTER, email="shop@example.com", password=PASSWORD)
    stored = await worker.tenants.find_by_email("shop@example.com")
    assert stored is not None
    assert PASSWORD not in stored.password_hash
    assert await worker.ports.hasher.verify(stored.password_hash, PASSWORD)


async def test_registration_of_an_email_in_another_case_is_refused(worker: InMemoryWorker) -> None:
    """The first password stays."""
    await worker.call(TENANT_REGISTER, email="shop@example.com", password=PASSWORD)
    with pytest.raises(EmailTaken):
        await worker.call(TENANT_REGISTER, email="SHOP@example.com", password="another password")
    await worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)


async def test_redelivered_registration_returns_the_first_result(worker: InMemoryWorker) -> None:
    """This includes the token."""
    fields = {"email": "shop@example.com", "password": PASSWORD}
    first = await worker.call(TENANT_REGISTER, "message", **fields)
    assert await worker.call(TENANT_REGISTER, "message", **fields) == first


async def test_message_id_with_another_password_does_not_return_the_tenant(worker: InMemoryWorker) -> None:
    await worker.call(TENANT_REGISTER, "message", email="shop@example.com", password=PASSWORD)
    with pytest.raises(EmailTaken):
        await worker.call(TENANT_REGISTER, "message", email="shop@example.com", password="another password")


async def test_registration_policy_gets_the_key_and_otherwise_the_address() -> None:
    registration = FakeRegistration()
    worker = InMemoryWorker(registration=registration)
    fields = {"password": PASSWORD, "clientAddress": "2001:db8::1"}
    await worker.call(TENANT_REGISTER, email="shop@example.com", registrationKey="key", **fields)
    await worker.call(TENANT_REGISTER, email="bank@example.com", registrationKey=REGISTRATION_KEY, **fields)
    await worker.call(TENANT_REGISTER, email="farm@example.com", password=PASSWORD)
    assert registration.asked == ["key", "2001:db8::1", REGISTRATION_KEY, None]


async def test_registration_by_a_service_has_no_address() -> None:
    """Only edges know the address of a client."""
    registration = FakeRegistration()
    worker = InMemoryWorker(registration=registration)
    fields = {"email": "shop@example.com", "password": PASSWORD, "clientAddress": "2001:db8::1"}
    await worker.call_as("mallory", TENANT_REGISTER, **fields)
    assert registration.asked == [None]


async def test_forbidden_registration_does_not_reveal_a_taken_email() -> None:
    """Neither answer costs a hash."""
    hasher, registration = FakeHasher(), FakeRegistration()
    worker = InMemoryWorker(registration=registration, hasher=hasher)
    await worker.register("shop@example.com")
    registration.allowed, hashed = False, hasher.work
    answers = []
    for email in ("shop@example.com", "nobody@example.com"):
        with pytest.raises(RegistrationForbidden) as refusal:
            await worker.register(email)
        answers.append(refusal.value.to_reply())
    assert answers[0] == answers[1]
    assert hasher.work == hashed


async def test_forbidden_registration_neither_hashes_nor_stores() -> None:
    hasher = FakeHasher()
    worker = InMemoryWorker(registration=FakeRegistration(allowed=False), hasher=hasher)
    with pytest.raises(RegistrationForbidden):
        await worker.call(TENANT_REGISTER, email="shop@example.com", password=PASSWORD)
    assert hasher.work == 0
    assert await worker.tenants.find_by_email("shop@example.com") is None
