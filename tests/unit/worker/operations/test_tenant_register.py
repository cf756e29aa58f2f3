"""tenant.register"""

import pytest

from shared.contracts.errors import EmailTaken, RegistrationForbidden
from shared.contracts.tenant_login import TENANT_LOGIN
from shared.contracts.tenant_register import TENANT_REGISTER
from shared.contracts.tenant_verify import TENANT_VERIFY
from tests.fakes import REGISTRATION_KEY, FakeHasher, FakeRegistration
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker


async def test_a_tenant_gets_an_id_and_a_token(worker: InMemoryWorker) -> None:
    """A new tenant is answered with its id, its login, and a token that is alive."""
    reply = await worker.call(TENANT_REGISTER, email="Shop@Example.com", password=PASSWORD)
    assert (reply.email, reply.login) == ("shop@example.com", "tenant:shop@example.com")
    claims = (await worker.call(TENANT_VERIFY, token=reply.token)).decoded
    assert claims.id == claims.tenant == claims.sub == reply.id


async def test_what_is_stored_is_no_password(worker: InMemoryWorker) -> None:
    """The store gets a hash and never the password."""
    await worker.call(TENANT_REGISTER, email="shop@example.com", password=PASSWORD)
    stored = await worker.tenants.find_by_email("shop@example.com")
    assert stored is not None
    assert PASSWORD not in stored.password_hash
    assert await worker.ports.hasher.verify(stored.password_hash, PASSWORD)


async def test_an_email_in_another_case_is_the_same_email(worker: InMemoryWorker) -> None:
    """A second registration of an email is refused, and the first password stays."""
    await worker.call(TENANT_REGISTER, email="shop@example.com", password=PASSWORD)
    with pytest.raises(EmailTaken):
        await worker.call(TENANT_REGISTER, email="SHOP@example.com", password="another password")
    await worker.call(TENANT_LOGIN, email="shop@example.com", password=PASSWORD)


async def test_the_same_request_delivered_twice(worker: InMemoryWorker) -> None:
    """A redelivered registration answers as it did the first time, token included."""
    fields = {"email": "shop@example.com", "password": PASSWORD}
    first = await worker.call(TENANT_REGISTER, "message", **fields)
    assert await worker.call(TENANT_REGISTER, "message", **fields) == first


async def test_a_message_id_is_no_password(worker: InMemoryWorker) -> None:
    """Who knows the message id of a registration, but not its password, does not get the tenant."""
    await worker.call(TENANT_REGISTER, "message", email="shop@example.com", password=PASSWORD)
    with pytest.raises(EmailTaken):
        await worker.call(TENANT_REGISTER, "message", email="shop@example.com", password="another password")


async def test_registration_is_decided_by_key_and_address() -> None:
    """The policy is shown the key of the request, and its address where that is no right one."""
    registration = FakeRegistration()
    worker = InMemoryWorker(registration=registration)
    fields = {"password": PASSWORD, "clientAddress": "2001:db8::1"}
    await worker.call(TENANT_REGISTER, email="shop@example.com", registrationKey="key", **fields)
    await worker.call(TENANT_REGISTER, email="bank@example.com", registrationKey=REGISTRATION_KEY, **fields)
    await worker.call(TENANT_REGISTER, email="farm@example.com", password=PASSWORD)
    assert registration.asked == ["key", "2001:db8::1", REGISTRATION_KEY, None]


async def test_a_service_has_no_address() -> None:
    """Whatever it says: only edges know where a client is."""
    registration = FakeRegistration()
    worker = InMemoryWorker(registration=registration)
    fields = {"email": "shop@example.com", "password": PASSWORD, "clientAddress": "2001:db8::1"}
    await worker.call_as("mallory", TENANT_REGISTER, **fields)
    assert registration.asked == [None]


async def test_who_may_not_register_learns_nothing() -> None:
    """An email that is taken is refused as one that is not, and neither costs a hash."""
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


async def test_a_forbidden_registration_does_nothing() -> None:
    """What is not allowed is refused before anything is hashed or stored."""
    hasher = FakeHasher()
    worker = InMemoryWorker(registration=FakeRegistration(allowed=False), hasher=hasher)
    with pytest.raises(RegistrationForbidden):
        await worker.call(TENANT_REGISTER, email="shop@example.com", password=PASSWORD)
    assert hasher.work == 0
    assert await worker.tenants.find_by_email("shop@example.com") is None
