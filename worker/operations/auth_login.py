"""The operation `auth.login`."""

from shared.contracts.auth_login import AUTH_LOGIN, AuthLoginReply, AuthLoginRequest
from worker.domain.call import Call
from worker.domain.password_login import log_in
from worker.domain.ports import Ports


async def auth_login(request: AuthLoginRequest, call: Call, ports: Ports) -> AuthLoginReply:
    """Check a user's password and create a session: see `log_in`."""
    return AuthLoginReply(access_token=await log_in(AUTH_LOGIN, request, call, ports, as_operator=False))
