"""`python -m worker.bootstrap --login olga --email olga@example.com`: makes the first operator of an installation.

A separate composition root. It needs the environment of a worker, and uses only the database.
"""

import argparse
import asyncio
import contextlib
import functools
import getpass
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from pydantic import SecretStr, TypeAdapter, ValidationError

from shared.contracts.errors import InvalidRequest, Unavailable
from shared.contracts.key_create import KEY_CREATE, MAX_EXPIRY_DAYS
from shared.contracts.key_revoke import KEY_REVOKE
from shared.contracts.operation import Lane, Operation
from shared.contracts.permissions import Permission
from shared.contracts.tenant_logout import TENANT_LOGOUT
from shared.contracts.wire import Email, NewLogin, NewPassword, NewTenantEmail, WireModel
from shared.process.environment import EX_UNAVAILABLE, load_settings
from shared.process.logging import configure
from worker.adapters import mongo_database
from worker.adapters.argon2_hasher import Argon2Hasher
from worker.adapters.common_passwords import common_passwords
from worker.adapters.fair_turns import FairTurns
from worker.adapters.jwt_tokens import JwtTokens
from worker.adapters.mongo_activity import MongoActivity
from worker.adapters.mongo_attempts import MongoAttempts
from worker.adapters.mongo_audit import MongoAudit
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_sweep_leases import MongoSweepLeases
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.adapters.registration_policy import RegistrationPolicy
from worker.adapters.system_clock import SystemClock
from worker.command import INTERRUPTED, print_error
from worker.domain.call import Call
from worker.domain.first_operator import BootstrapRefused, create_first_operator
from worker.domain.identifiers import new_id
from worker.domain.ports import Ports
from worker.domain.records import StoredSession, StoredTenant
from worker.domain.session_opening import open_tenant_session
from worker.operations import HANDLERS
from worker.settings import SECRETS, Settings

ReplyT = TypeVar("ReplyT", bound=WireModel)

KEY_NAME = "operators' logins"
#: The email of an operators' tenant that is made here. The name is reserved (RFC 6761, 6.4), so nobody can receive it.
TENANT_EMAIL = "operators@jincor-auth.invalid"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m worker.bootstrap",
        description="Makes the first operator, with all operator permissions. Works while no operator exists. Needs "
        "the environment of a worker. Makes the operators' tenant, too, unless AUTH_OPERATOR_TENANT names one.",
    )
    parser.add_argument("--login", required=True, type=_checked(NewLogin), help="the operator's login")
    parser.add_argument("--email", required=True, type=_checked(Email), help="the operator's email")
    parser.add_argument(
        "--tenant-email",
        default=TENANT_EMAIL,
        type=_checked(NewTenantEmail),
        help=f"the email of the operators' tenant if it is made; default: {TENANT_EMAIL}",
    )
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # This command prints its own messages, so library logs are silenced.
    configure("bootstrap", "critical", "console")
    settings = load_settings(Settings, SECRETS, AUTH_LANES=Lane.PASSWORD.value)
    try:
        password = _password(from_stdin=arguments.password_stdin)
        raise SystemExit(asyncio.run(run(settings, arguments.login, arguments.email, password, arguments.tenant_email)))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


async def run(settings: Settings, login: str, email: str, password: SecretStr, tenant_email: str) -> int:
    """Make the first operator. Return the exit code."""
    async with contextlib.AsyncExitStack() as stack:
        url = settings.mongo_url.get_secret_value()
        database = await stack.enter_async_context(mongo_database.connect(url))
        if problems := await database.problems():
            print_error(*(f"database: {problem}" for problem in problems))
            return EX_UNAVAILABLE
        try:
            ports = _ports(settings, database, stack)
            operator, key = await create_first_operator(
                login, email, password, tenant_email, ports=ports, new_key=functools.partial(login_key, ports)
            )
        except BootstrapRefused as error:
            print_error(str(error))
            return 1
        except InvalidRequest as error:
            print_error(*(f"{problem.field}: {problem.message}" for problem in error.problems))
            return 1
        except Unavailable:
            print_error("database: is unavailable; run the command again")
            return EX_UNAVAILABLE
    print(f"AUTH_OPERATOR_TENANT={operator.tenant}")  # noqa: T201 - output of a command
    print(key)  # noqa: T201 - it is shown only here
    print_error(
        f"{operator.login} is an operator.",
        "Next: restart all workers with this AUTH_OPERATOR_TENANT, unless they have it.",
        "Keep the API key, which is shown only here: operators log in with it, POST /operator/login.",
    )
    return 0


@contextlib.asynccontextmanager
async def login_key(ports: Ports, tenant: StoredTenant) -> AsyncIterator[str]:
    """Make an API key of the tenant that permits logins only, and revoke it if the block fails.

    It lives as long as a key can: whoever cannot log in cannot make another one.
    """
    token = await open_tenant_session(tenant, Call(new_id()), ports)
    wanted = {"name": KEY_NAME, "permissions": [Permission.AUTH_LOGIN], "expiresInDays": MAX_EXPIRY_DAYS}
    try:
        issued = await _call(KEY_CREATE, ports, tenantToken=token, **wanted)
        try:
            yield issued.api_key
        except BaseException:
            await _call(KEY_REVOKE, ports, tenantToken=token, id=issued.key.id)
            raise
    finally:
        await _call(TENANT_LOGOUT, ports, token=token)


async def _call(operation: Operation[Any, ReplyT], ports: Ports, **members: Any) -> ReplyT:
    """Handle a request of this process, as a worker does."""
    request = operation.request.model_validate(members)
    reply: Any = await HANDLERS[operation.name](request, Call(new_id()), ports)
    return operation.reply.model_validate(reply)


class SweptEvents:
    """Implements the port `Events`. The sweep of a worker publishes the events from the database."""

    connected = False

    def announce(self, session: StoredSession) -> None:
        """Leave the event in the database."""


def _ports(settings: Settings, database: mongo_database.MongoDatabase, stack: contextlib.AsyncExitStack) -> Ports:
    peppers = {pepper_id: pepper.get_secret_value() for pepper_id, pepper in (settings.password_peppers or {}).items()}
    hasher = Argon2Hasher(1, settings.hash_memory_kib, settings.hash_passes, peppers)
    stack.callback(hasher.close)
    keys = {key_id: key.get_secret_value() for key_id, key in settings.master_keys.items()}
    return Ports(
        tenants=MongoTenants(database),
        users=MongoUsers(database),
        sessions=MongoSessions(database),
        attempts=MongoAttempts(database),
        audit=MongoAudit(database, settings.audit_kept_for),
        hasher=hasher,
        turns=FairTurns(1, settings.password_places),
        tokens=JwtTokens(keys, settings.issuer),
        events=SweptEvents(),
        activity=MongoActivity(database),
        sweep_leases=MongoSweepLeases(database, "bootstrap"),
        database=database,
        clock=SystemClock(),
        registration=RegistrationPolicy((), None),
        common_passwords=common_passwords(),
        lifetimes=settings.lifetimes,
        throttle=settings.throttle,
        min_password_chars=settings.password_min_chars,
        operator_tenant=settings.operator_tenant,
    )


def _password(*, from_stdin: bool) -> SecretStr:
    """Read the password. Raises `SystemExit` if it cannot be one."""
    if from_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    else:
        text = getpass.getpass("Password of the operator: ")
        if getpass.getpass("The same again: ") != text:
            print_error("password: the two passwords differ")
            raise SystemExit(1)
    try:
        return TypeAdapter[SecretStr](NewPassword).validate_python(text)
    except ValidationError as error:
        print_error(f"password: {_message(error)}")
        raise SystemExit(1) from None


def _checked(kind: Any) -> Callable[[str], str]:
    """Return a check of an argument by a type of the contracts."""

    def check(text: str) -> str:
        try:
            return TypeAdapter[str](kind).validate_python(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(_message(error)) from None

    return check


def _message(error: ValidationError) -> str:
    [first, *_] = error.errors(include_input=False, include_url=False)
    return first["msg"].removeprefix("Value error, ")


if __name__ == "__main__":
    main()
