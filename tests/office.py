"""The operators' tenant of a running service, whose workers have `AUTH_OPERATOR_TENANT=operators`."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from shared.contracts.errors import EmailTaken
from shared.contracts.permissions import OPERATOR_PERMISSIONS
from tests.records import a_key, a_tenant
from worker.adapters.argon2_hasher import Argon2Hasher
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.first_operator import OPERATORS_TENANT

#: The setting of workers with this tenant.
WITH_OFFICE = {"AUTH_OPERATOR_TENANT": OPERATORS_TENANT}
EMAIL, PASSWORD = "operators@office.test", "correct horse battery"
_first = asyncio.Lock()


@dataclass(frozen=True)
class Office:
    """A token of the operators' tenant, an operator with all permissions and its token, and another user."""

    token: str
    operator: str
    operator_token: str
    colleague: str


async def open_office(database: MongoDatabase, call: Callable[..., Awaitable[Any]]) -> Office:
    """Make two users in the operators' tenant, and the tenant itself if there is none.

    `call` sends a request to the service, given the operation's name and the request's members.
    """
    async with _first:
        if await MongoTenants(database).find(OPERATORS_TENANT) is None:
            hasher = Argon2Hasher(1, 19_456, 2)
            tenant = a_tenant(id=OPERATORS_TENANT, email=EMAIL, password_hash=await hasher.hash(PASSWORD))
            hasher.close()
            with contextlib.suppress(EmailTaken):  # another process of the tests
                await MongoTenants(database).add(tenant)
    token = (await call("tenant.login", email=EMAIL, password=PASSWORD)).token
    operator, colleague = f"olga-{uuid.uuid4().hex}", f"oskar-{uuid.uuid4().hex}"
    for login in (operator, colleague):
        await call("user.create", tenantToken=token, login=login, email="o@office.test", password=PASSWORD)
    users = MongoUsers(database)
    stored = await users.find(OPERATORS_TENANT, operator)
    assert stored is not None
    await users.replace_operator_permissions(stored, OPERATOR_PERMISSIONS, a_key())
    request = {"tenantToken": token, "login": operator, "password": PASSWORD, "deviceId": "laptop"}
    return Office(token, operator, (await call("operator.login", **request)).access_token, colleague)
