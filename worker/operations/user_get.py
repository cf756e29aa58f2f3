"""The operation `user.get`."""

from shared.contracts import user
from shared.contracts.user_get import UserGetRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.tokens import tenant_of, user_of
from worker.domain.views import public_user


async def user_get(request: UserGetRequest, _: Call, ports: Ports) -> user.User:
    """Return a user of this tenant."""
    tenant = await tenant_of(request.tenant_token, ports)
    login = await ports.users.spelling(tenant, request.login)
    return public_user(await user_of(tenant, login, ports))
