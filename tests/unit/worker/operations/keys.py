"""Steps that the tests of API keys share."""

from typing import Any

from shared.contracts.errors import AuthError
from shared.contracts.key import ApiKey, IssuedKey
from shared.contracts.key_list import KEY_LIST
from shared.contracts.key_rotate import KEY_ROTATE
from shared.contracts.principal_get import PRINCIPAL_GET
from tests.unit.worker.in_memory import InMemoryWorker


async def rotate(
    worker: InMemoryWorker, credential: str, key: str, message_id: str | None = None, **fields: Any
) -> IssuedKey:
    return await worker.call(KEY_ROTATE, message_id, tenantToken=credential, id=key, **fields)


async def listed(worker: InMemoryWorker, credential: str) -> tuple[ApiKey, ...]:
    return (await worker.call(KEY_LIST, tenantToken=credential)).keys


async def works(worker: InMemoryWorker, api_key: str) -> bool:
    """Return whether a request with this key is accepted."""
    try:
        await worker.call(PRINCIPAL_GET, tenantToken=api_key)
    except AuthError:
        return False
    return True
