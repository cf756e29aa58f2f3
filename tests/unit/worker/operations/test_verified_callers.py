"""auth.verify tells caches what its answer to an API key or access token depends on, and nothing else."""

import json
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.auth_verify import AUTH_VERIFY, CallerSession, VerifyAnswer
from shared.contracts.key import IssuedKey
from shared.contracts.oauth_token import OAUTH_TOKEN
from shared.contracts.principal_get import PRINCIPAL_GET
from tests.fakes import NOW
from tests.unit.worker.in_memory import InMemoryWorker
from tests.unit.worker.operations.keys import rotate

NOW_SECONDS = int(NOW.timestamp())
YEAR_SECONDS = 365 * 24 * 3_600


async def answers(worker: InMemoryWorker, token: str, *credentials: str) -> list[VerifyAnswer]:
    """Verify the token once for each of these callers, in one batch."""
    checks = [{"tenantToken": credential, "token": token} for credential in credentials]
    return list((await worker.call(AUTH_VERIFY, checks=checks)).answers)


@pytest.fixture
async def issued(worker: InMemoryWorker, shop: str) -> IssuedKey:
    return await worker.create_key(shop)


@pytest.mark.usefixtures("ann")
async def test_answer_tells_the_session_and_expiry_of_a_key_and_of_its_access_token(
    worker: InMemoryWorker, shop: str, issued: IssuedKey
) -> None:
    token = await worker.login(shop)
    granted = await worker.call(OAUTH_TOKEN, tenantToken=issued.api_key)
    credentials = (issued.api_key, granted.access_token, shop, "nothing")
    of_key, of_client, of_tenant, refused = await answers(worker, token, *credentials)
    assert of_key.caller == CallerSession(session_id=issued.key.id, exp=NOW_SECONDS + YEAR_SECONDS)
    assert of_client.caller == CallerSession(session_id=issued.key.id, exp=NOW_SECONDS + granted.expires_in)
    for answer, members in ((of_tenant, {"claims"}), (refused, {"error"})):
        sent: dict[str, Any] = json.loads(answer.to_json())
        assert set(sent) == members, "the answers that old clients know do not change"


@pytest.mark.usefixtures("ann")
async def test_credential_expires_with_its_secret_after_a_rotation(
    worker: InMemoryWorker, shop: str, issued: IssuedKey
) -> None:
    """The new secret is valid as long as the key."""
    token = await worker.login(shop)
    worker.clock.advance(timedelta(seconds=10))
    rotated = await rotate(worker, shop, issued.key.id, overlapSeconds=60)
    old, new = await answers(worker, token, issued.api_key, rotated.api_key)
    assert old.caller is not None
    assert new.caller is not None
    assert (old.caller.exp, new.caller.exp) == (NOW_SECONDS + 70, NOW_SECONDS + 10 + YEAR_SECONDS)
    assert (await worker.call(PRINCIPAL_GET, tenantToken=issued.api_key)).exp == NOW_SECONDS + 70
    assert (await worker.call(OAUTH_TOKEN, tenantToken=issued.api_key)).expires_in == 60
