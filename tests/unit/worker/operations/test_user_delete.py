"""user.delete"""

from datetime import UTC, datetime

import pytest

from shared.contracts.errors import InvalidCredentials, InvalidToken, UserNotFound
from shared.contracts.events import RevocationReason
from shared.contracts.user import User
from shared.contracts.user_delete import USER_DELETE
from shared.contracts.user_list import USER_LIST
from tests.unit.worker.in_memory import InMemoryWorker


@pytest.mark.usefixtures("ann")
async def test_deleted_user_is_not_listed_and_cannot_log_in(worker: InMemoryWorker, shop: str) -> None:
    """A second deletion does not find it."""
    assert (await worker.call(USER_DELETE, tenantToken=shop, login="ann")).result == 1
    assert (await worker.call(USER_LIST, tenantToken=shop)).users == ()
    with pytest.raises(InvalidCredentials):
        await worker.login(shop)
    with pytest.raises(UserNotFound):
        await worker.call(USER_DELETE, tenantToken=shop, login="ann")


@pytest.mark.usefixtures("ann")
async def test_user_deletion_revokes_and_announces_its_sessions(worker: InMemoryWorker, shop: str) -> None:
    """Sessions of other users stay live."""
    tokens = [await worker.login(shop) for _ in range(3)]
    await worker.create(shop, "bob")
    bystander = await worker.login(shop, "bob")
    await worker.call(USER_DELETE, tenantToken=shop, login="ann")
    for token in tokens:
        with pytest.raises(InvalidToken):
            await worker.verify(shop, token)
    ended = [(await worker.session_of(token)).id for token in tokens]
    assert worker.events.reasons == dict.fromkeys(ended, RevocationReason.USER_DELETED)
    assert (await worker.verify(shop, bystander)).login == "bob"


async def test_login_of_a_deleted_user_can_be_used_again(worker: InMemoryWorker, shop: str, ann: User) -> None:
    """Tokens of the deleted user stay invalid."""
    token = await worker.login(shop)
    await worker.call(USER_DELETE, tenantToken=shop, login="ann")
    assert (await worker.create(shop, "ann")).id != ann.id
    with pytest.raises(InvalidToken):
        await worker.verify(shop, token)


@pytest.mark.usefixtures("ann")
async def test_completed_deletion_leaves_nothing_for_the_sweep(worker: InMemoryWorker, shop: str) -> None:
    await worker.call(USER_DELETE, tenantToken=shop, login="ann")
    assert await worker.users.tenants_with_unfinished_revocations(datetime.max.replace(tzinfo=UTC)) == []


async def test_deletion_of_an_unknown_user_is_refused(worker: InMemoryWorker, shop: str) -> None:
    with pytest.raises(UserNotFound):
        await worker.call(USER_DELETE, tenantToken=shop, login="nobody")
