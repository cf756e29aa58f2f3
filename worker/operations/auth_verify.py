"""The operation `auth.verify`."""

from shared.contracts.auth_verify import AuthVerifyReply, AuthVerifyRequest, VerifyAnswer, VerifyCheck
from shared.contracts.errors import InvalidTenantToken, InvalidToken
from worker.domain.call import Call
from worker.domain.ports import Ports
from worker.domain.records import StoredSession
from worker.domain.tokens import checked_tenant, checked_user, sessions_of


async def auth_verify(request: AuthVerifyRequest, _: Call, ports: Ports) -> AuthVerifyReply:
    """Verify a batch of user tokens with one query. Each check gets its own answer, in the order of the request."""
    tokens = {token for check in request.checks for token in (check.tenant_token, check.token)}
    sessions = await sessions_of(tokens, ports)
    tenants: dict[str, str | None] = {}  # cached, since most checks of a batch have the same tenant token
    return AuthVerifyReply(answers=tuple(_answer(check, sessions, tenants, ports) for check in request.checks))


def _answer(
    check: VerifyCheck, sessions: dict[str, StoredSession], tenants: dict[str, str | None], ports: Ports
) -> VerifyAnswer:
    if check.tenant_token not in tenants:
        tenants[check.tenant_token] = _tenant(check.tenant_token, sessions, ports)
    tenant = tenants[check.tenant_token]
    if tenant is None:
        return VerifyAnswer.failed(InvalidTenantToken())
    try:
        session, claims = checked_user(check.token, tenant, sessions, ports)
    except InvalidToken as error:
        return VerifyAnswer.failed(error)
    ports.activity.seen(session, ports.clock.now())
    return VerifyAnswer(claims=claims)


def _tenant(token: str, sessions: dict[str, StoredSession], ports: Ports) -> str | None:
    try:
        return checked_tenant(token, sessions, ports).tenant
    except InvalidTenantToken:
        return None
