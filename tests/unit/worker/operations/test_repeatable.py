"""Operations that may be sent again: the second time they do nothing more, and answer as they did the first."""

from datetime import timedelta
from typing import Any

import pytest

from shared.contracts import OPERATIONS
from shared.contracts.operation import Operation
from tests.unit.worker.in_memory import PASSWORD, InMemoryWorker

REPEATABLE = {name: operation for name, operation in OPERATIONS.items() if operation.repeatable}


def request(name: str, shop: str, token: str) -> dict[str, Any]:
    """What to send of an operation; those that are not here need nothing."""
    by_tenant = {"tenantToken": shop}
    requests: dict[str, dict[str, Any]] = {
        "tenant.register": {"email": "new@example.com", "password": PASSWORD},
        "tenant.login": {"email": "shop@example.com", "password": PASSWORD},
        "tenant.verify": {"token": shop},
        "user.create": {**by_tenant, "login": "bob", "email": "bob@example.com", "password": PASSWORD},
        "user.list": by_tenant,
        "auth.login": {**by_tenant, "login": "ann", "password": PASSWORD, "deviceId": "phone"},
        "auth.verify": {"checks": [{**by_tenant, "token": token}]},
        "token.introspect": {**by_tenant, "token": token},
        "token.revoke": {**by_tenant, "token": token},
        "session.list": {**by_tenant, "login": "ann"},
        "session.revoke_all": {**by_tenant, "login": "ann"},
        "event.list": by_tenant,
    }
    return requests.get(name, {})


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("operation", REPEATABLE.values(), ids=REPEATABLE)
async def test_sent_again_it_answers_the_same(
    worker: InMemoryWorker, shop: str, operation: Operation[Any, Any]
) -> None:
    """A caller that lost the first answer may ask again under the same message id, seconds later."""
    fields = request(operation.name, shop, await worker.login(shop))
    first = await worker.call(operation, "message", **fields)
    ended = worker.events.reasons
    worker.clock.advance(timedelta(seconds=5))
    again = await worker.call(operation, "message", **fields)
    # A list of events says when it was read; what is in it is the same.
    assert again.model_dump(exclude={"as_of"}) == first.model_dump(exclude={"as_of"})
    assert worker.events.reasons == ended
