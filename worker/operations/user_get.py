"""The operation `user.get`."""

from shared.contracts import user
from shared.contracts.user_get import USER_GET, UserGetRequest
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import principal_of
from worker.domain.tokens import user_of
from worker.domain.views import public_user


async def user_get(request: UserGetRequest, call: Call, ports: Ports) -> user.User:
    """Return a user of this tenant."""
    tenant = (await principal_of(USER_GET, request, call, ports)).tenant
    login = await ports.users.spelling(tenant, request.login)
    return public_user(await user_of(tenant, login, ports))
