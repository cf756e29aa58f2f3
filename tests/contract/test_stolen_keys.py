"""Attacks on API keys with a copy of the whole database."""

import base64
import hashlib
import itertools
import zlib
from dataclasses import replace
from typing import Any

from shared.contracts import OPERATIONS
from shared.contracts.api_key import CHECKSUM_CHARS, ID_CHARS, PREFIX, SECRET_CHARS, api_key_id, base62
from shared.contracts.errors import AuthError
from tests import fakes
from tests.contract.test_stolen_database import dumped, leaves
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_tenants import MongoTenants
from worker.domain.call import Call
from worker.domain.key_guesses import KeyGuesses
from worker.domain.ports import Ports
from worker.operations import HANDLERS

_NUMBERS = itertools.count()


async def call(worker: Ports, operation: str, /, **fields: Any) -> Any:
    request = OPERATIONS[operation].request.model_validate(fields)
    return await HANDLERS[operation](request, Call(f"message {next(_NUMBERS)}"), worker)


def guesses(key: str, value: bytes) -> list[str]:
    """Return keys of this id that an attacker would try with a stored value."""
    as_number = base62(int.from_bytes(value[:32]), SECRET_CHARS) if len(value) >= 32 else ""
    texts = [as_number, value.hex()[:SECRET_CHARS], base64.b64encode(value).decode()[:SECRET_CHARS]]
    keys = [PREFIX + key + "".join(filter(str.isalnum, text)).ljust(SECRET_CHARS, "0") for text in texts]
    return [each + base62(zlib.crc32(each.encode()), CHECKSUM_CHARS) for each in keys]


async def test_stored_values_open_no_key(mongo_database: MongoDatabase) -> None:
    """Every stored value is tried as a key and as the secret of a key."""
    worker = fakes.ports(tenants=MongoTenants(mongo_database), sessions=MongoSessions(mongo_database))
    shop = (await call(worker, "tenant.register", email="shop@example.com", password="a password of the tenant")).token
    created = await call(worker, "key.create", tenantToken=shop, name="gateway", permissions=["users:read"])
    rotated = await call(worker, "key.rotate", tenantToken=shop, id=created.key.id)
    dump = await dumped(mongo_database)
    values = {value for value in leaves(list(dump.values())) if value}
    for issued in (created, rotated):
        assert await call(worker, "user.list", tenantToken=issued.api_key)
        digest = hashlib.sha256(issued.api_key.encode()).digest()
        assert digest in values, "the search looks at the right values"
        everything = b"\n".join(values)
        assert issued.api_key.encode() not in everything
        assert issued.api_key[len(PREFIX) + ID_CHARS :][:SECRET_CHARS].encode() not in everything
    tried = 0
    for value in values:
        for guess in (*guesses(created.key.id, value), value.decode(errors="replace")):
            # Each worker starts without a count, so that each guess is compared.
            assert await refused(replace(worker, key_guesses=KeyGuesses()), guess)
            tried += api_key_id(guess) is not None
    assert tried > 50


async def refused(worker: Ports, api_key: str) -> bool:
    try:
        await call(worker, "user.list", tenantToken=api_key)
    except AuthError as error:
        return error.code == "invalid_tenant_token"
    return False
