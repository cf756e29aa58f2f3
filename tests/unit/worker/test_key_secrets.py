"""Where an API key must not appear: representations, errors and audit records."""

import hashlib

import pytest
from pydantic import ValidationError

from shared.contracts.errors import AuthError
from shared.contracts.key_create import KEY_CREATE, KeyCreateRequest
from shared.contracts.key_revoke import KEY_REVOKE
from shared.contracts.key_rotate import KEY_ROTATE, KeyRotateRequest
from tests.unit.worker.in_memory import InMemoryWorker
from worker.domain.call import Call
from worker.domain.principal import principal_of

#: The secret part of a key stands between its id and its checksum.
SECRET = slice(26, 69)


async def test_no_representation_holds_a_key_or_its_digest(worker: InMemoryWorker, shop: str) -> None:
    """Neither of requests, replies, stored sessions and principals, nor of the audit records."""
    issued = await worker.create_key(shop)
    fields = {"id": issued.key.id}
    rotated = await worker.call(KEY_ROTATE, tenantToken=issued.api_key, **fields)
    request = KeyRotateRequest(tenant_token=issued.api_key, id=issued.key.id)
    stored = (await worker.sessions.find([issued.key.id]))[issued.key.id]
    principal = await principal_of(KEY_ROTATE, request, Call("message"), worker.ports)
    await worker.call(KEY_REVOKE, tenantToken=rotated.api_key, **fields)
    everything = repr([issued, rotated, request, stored, principal, worker.events.announced, worker.audit.records])
    assert issued.key.id in everything, "the search looks at the right text"
    for api_key in (issued.api_key, rotated.api_key):
        digest = hashlib.sha256(api_key.encode()).digest()
        for secret in (api_key[SECRET], digest.hex(), repr(digest)):
            assert secret not in everything


async def test_no_error_repeats_a_key(worker: InMemoryWorker, shop: str) -> None:
    """Also if it was put into a wrong member."""
    api_key = (await worker.create_key(shop, permissions=["tokens:verify"])).api_key
    wrong = {"tenantToken": shop, "name": api_key + "\n", "permissions": [api_key], "networks": [api_key]}
    with pytest.raises(ValidationError) as invalid:
        KeyCreateRequest.model_validate(wrong)
    texts = [str(invalid.value)]
    for credential in (api_key, api_key[:-1]):
        with pytest.raises(AuthError) as refused:
            await worker.call(KEY_CREATE, name="gateway", permissions=["users:read"], tenantToken=credential)
        texts.append(refused.value.to_reply().model_dump_json())
    assert api_key[SECRET] not in "\n".join(texts)
