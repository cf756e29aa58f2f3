"""The operation `auth.verify`."""

from shared.contracts.auth_verify import (
    AUTH_VERIFY,
    AuthVerifyReply,
    AuthVerifyRequest,
    CallerSession,
    VerifyAnswer,
    VerifyCheck,
)
from shared.contracts.errors import AuthError, Forbidden, InvalidTenantToken, Throttled
from shared.contracts.principal_get import CredentialKind
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.principal import Address, Principal, Sessions, authenticated, check_permission
from worker.domain.tokens import checked_user, sessions_of

#: The callers of a batch: the principal of each credential at each address, or the error that refuses it.
Callers = dict[tuple[str, Address | None], Principal | AuthError]
#: Credentials whose session and expiry the answer tells. Every caller can read those of a tenant token.
OPAQUE = frozenset({CredentialKind.API_KEY, CredentialKind.ACCESS_TOKEN})


async def auth_verify(request: AuthVerifyRequest, call: Call, ports: Ports) -> AuthVerifyReply:
    """Verify a batch of user tokens with one query. Each check gets its own answer, in the order of the request."""
    tokens = {token for check in request.checks for token in (check.tenant_token, check.token)}
    sessions = await sessions_of(tokens, ports)
    callers: Callers = {}  # cached, since most checks of a batch have the same tenant token
    return AuthVerifyReply(answers=tuple(_answer(check, sessions, callers, call, ports) for check in request.checks))


def _answer(check: VerifyCheck, sessions: Sessions, callers: Callers, call: Call, ports: Ports) -> VerifyAnswer:
    caller = check.tenant_token, call.client(check.caller_address)
    if caller not in callers:
        callers[caller] = _principal(*caller, call.service, sessions, ports)
    principal = callers[caller]
    if isinstance(principal, AuthError):
        return VerifyAnswer.failed(principal)
    try:
        session, claims = checked_user(check.token, principal.tenant, sessions, ports)
    except AuthError as error:
        return VerifyAnswer.failed(error)
    ports.activity.seen(session, ports.clock.now())
    if principal.credential not in OPAQUE:
        return VerifyAnswer(claims=claims)
    return VerifyAnswer(claims=claims, caller=CallerSession(session_id=principal.session.id, exp=principal.expires))


def _principal(
    credential: str, address: Address | None, service: str | None, sessions: Sessions, ports: Ports
) -> Principal | AuthError:
    try:
        principal = authenticated(credential, sessions, address, ports, service)
        check_permission(AUTH_VERIFY, principal)
    except (InvalidTenantToken, Forbidden, Throttled) as error:
        return error
    return principal
