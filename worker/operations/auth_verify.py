"""The operation `auth.verify`."""

from shared.contracts.auth_verify import AUTH_VERIFY, AuthVerifyReply, AuthVerifyRequest, VerifyAnswer, VerifyCheck
from shared.contracts.errors import AuthError, Forbidden, InvalidTenantToken, Throttled
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import Address, Sessions, authenticated, check_permission
from worker.domain.tokens import checked_user, sessions_of

#: The callers of a batch: the tenant of each credential at each address, or the error that refuses it.
Callers = dict[tuple[str, Address | None], str | AuthError]


async def auth_verify(request: AuthVerifyRequest, call: Call, ports: Ports) -> AuthVerifyReply:
    """Verify a batch of user tokens with one query. Each check gets its own answer, in the order of the request."""
    tokens = {token for check in request.checks for token in (check.tenant_token, check.token)}
    sessions = await sessions_of(tokens, ports)
    callers: Callers = {}  # cached, since most checks of a batch have the same tenant token
    return AuthVerifyReply(answers=tuple(_answer(check, sessions, callers, call, ports) for check in request.checks))


def _answer(check: VerifyCheck, sessions: Sessions, callers: Callers, call: Call, ports: Ports) -> VerifyAnswer:
    caller = check.tenant_token, call.client(check.caller_address)
    if caller not in callers:
        callers[caller] = _tenant(*caller, call.service, sessions, ports)
    tenant = callers[caller]
    if isinstance(tenant, AuthError):
        return VerifyAnswer.failed(tenant)
    try:
        session, claims = checked_user(check.token, tenant, sessions, ports)
    except AuthError as error:
        return VerifyAnswer.failed(error)
    ports.activity.seen(session, ports.clock.now())
    return VerifyAnswer(claims=claims)


def _tenant(
    credential: str, address: Address | None, service: str | None, sessions: Sessions, ports: Ports
) -> str | AuthError:
    try:
        principal = authenticated(credential, sessions, address, ports, service)
        check_permission(AUTH_VERIFY, principal)
    except (InvalidTenantToken, Forbidden, Throttled) as error:
        return error
    return principal.tenant
