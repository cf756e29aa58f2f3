"""Every method of the ports of stored records, while the database answers with the errors of a failover: each raises
`Unavailable`, which is 503 at the edge, and none answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from shared.contracts.errors import Unavailable
from shared.contracts.events import RevocationReason
from shared.contracts.permissions import Permission
from tests.fakes import LIMIT, NOW
from tests.faults.database_stack import DatabaseStack, database_stack
from tests.faults.fail_command import COMMANDS, WRITES, WTIMEOUT, FailCommand
from tests.faults.profile import LONG
from tests.mongo_driver import connect
from tests.records import a_key, a_session, a_tenant, a_user, an_api_key
from worker.adapters.index_definitions import INDEXES
from worker.adapters.mongo_activity import MongoActivity
from worker.adapters.mongo_attempts import MongoAttempts
from worker.adapters.mongo_audit import MongoAudit
from worker.adapters.mongo_database import MongoDatabase
from worker.adapters.mongo_indexes import create_indexes
from worker.adapters.mongo_sessions import MongoSessions
from worker.adapters.mongo_sweep_leases import MongoSweepLeases
from worker.adapters.mongo_tenants import MongoTenants
from worker.adapters.mongo_users import MongoUsers
from worker.domain.audit_records import AuditQuery, StoredAuditRecord
from worker.domain.ports import Attempts, Audit, Sessions, SweepLeases, Tenants, Users
from worker.domain.records import Revocation, StoredCounts, StoredReset, TenantRevocation, UserChanges, UserRevocation

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Errors of commands, from servers that step down, stop, are overloaded or cannot reach others.
ERRORS = {
    6: "HostUnreachable",
    7: "HostNotFound",
    43: "CursorNotFound",
    50: "MaxTimeMSExpired",
    89: "NetworkTimeout",
    91: "ShutdownInProgress",
    112: "WriteConflict",
    133: "FailedToSatisfyReadPreference",
    134: "ReadConcernMajorityNotAvailableYet",
    175: "QueryPlanKilled",
    189: "PrimarySteppedDown",
    202: "NetworkInterfaceExceededTimeLimit",
    237: "CursorKilled",
    262: "ExceededTimeLimit",
    365: "TemporarilyUnavailable",
    462: "IngressRequestRateLimitExceeded",
    9001: "SocketException",
    10107: "NotWritablePrimary",
    11600: "InterruptedAtShutdown",
    11601: "Interrupted",
    11602: "InterruptedDueToReplStateChange",
    13435: "NotPrimaryNoSecondaryOk",
    13436: "NotPrimaryOrSecondary",
}
#: Write concern errors: the write was carried out, and may be rolled back. mongos sends 6, 89 and 133.
WRITE_CONCERN_ERRORS = {
    6: "HostUnreachable",
    64: "WriteConcernFailed",
    79: "UnknownReplWriteConcern",
    89: "NetworkTimeout",
    91: "ShutdownInProgress",
    100: "UnsatisfiableWriteConcern",
    133: "FailedToSatisfyReadPreference",
    189: "PrimarySteppedDown",
    11600: "InterruptedAtShutdown",
    11602: "InterruptedDueToReplStateChange",
}
#: An error that no version known today has, marked as one to be retried.
UNKNOWN_CODE = 99_999
LABELS = ["RetryableWriteError", "RetryableError", "TransientTransactionError"]
#: Faults of connections, without an answer. For mongod: before the command is carried out.
CUT = FailCommand(COMMANDS, close_connection=True)

FAULTS = {
    **{f"{code} {name}": FailCommand(COMMANDS, error_code=code) for code, name in ERRORS.items()},
    **{f"label {label}": FailCommand(COMMANDS, error_code=UNKNOWN_CODE, error_labels=[label]) for label in LABELS},
    "connection closed": CUT,
}
NOT_DURABLE = {
    f"{code} {name}": FailCommand(WRITES, write_concern_error=code) for code, name in WRITE_CONCERN_ERRORS.items()
}
#: `make test` has one of each kind: one that the driver knows, one that it does not know, a label, no answer.
BOUNDED = {"189 PrimarySteppedDown", "202 NetworkInterfaceExceededTimeLimit", "label RetryableError"}
BOUNDED_NOT_DURABLE = {"64 WriteConcernFailed", "11602 InterruptedDueToReplStateChange"}


#: Methods that write many documents with one command.
REPEATED = [
    "Users.remove_all",
    "Sessions.revoke_older",
    "Sessions.revoke_of_tenant",
    "Attempts.forget",
    "Tenants.request_counts",
]
ONCE = [FailCommand(WRITES, times=1, error_code=189), FailCommand(WRITES, times=1, close_connection=True)]


@dataclass(frozen=True)
class Adapters:
    """The stored records, through one connection."""

    tenants: MongoTenants
    users: MongoUsers
    sessions: MongoSessions
    attempts: MongoAttempts
    audit: MongoAudit
    leases: MongoSweepLeases

    @classmethod
    def on(cls, database: MongoDatabase) -> "Adapters":
        return cls(
            MongoTenants(database),
            MongoUsers(database),
            MongoSessions(database),
            MongoAttempts(database),
            MongoAudit(database, timedelta(days=1)),
            MongoSweepLeases(database, "worker"),
        )


#: Stored before each test, so that each method has something to find.
TENANT = a_tenant(id="shop")
#: Concurrent decisions do not change its generation.
OTHER_TENANT = a_tenant(id="bank")
RESET = StoredReset("request", 0, NOW + timedelta(hours=1), (b"digest",))
USER = a_user(tenant="shop", login="ann")
SESSION = a_session(user=USER.id)
KEY, _ = an_api_key()
ROTATED = replace(KEY, key=an_api_key()[0].key)
#: Not in Unicode form NFC, so that its spelling has to be looked up.
DECOMPOSED = "ann\u0301"
LATER = NOW + timedelta(hours=1)
REVOCATION = Revocation(NOW, RevocationReason.REVOKED, idempotency_key="request")
OF_USER = UserRevocation("shop", USER.login, USER.id, 1, RevocationReason.ALL_REVOKED)
OF_TENANT = TenantRevocation("shop", 1, RevocationReason.TENANT_DISABLED, users_before=1)
RECORD = StoredAuditRecord("0" * 32, "shop", NOW, "auth.login", "ok")
EVERYTHING = AuditQuery("shop", None, frozenset(), 0, 10**14, None)

Method = Callable[[Adapters], Awaitable[Any]]
#: By port and method.
METHODS: dict[str, Method] = {
    "Tenants.add": lambda on: on.tenants.add(a_tenant()),
    "Tenants.find": lambda on: on.tenants.find("shop"),
    "Tenants.find_by_email": lambda on: on.tenants.find_by_email(TENANT.email),
    "Tenants.page": lambda on: on.tenants.page("", "", 10),
    "Tenants.is_current": lambda on: on.tenants.is_current(TENANT),
    "Tenants.admits": lambda on: on.tenants.admits("shop", 0),
    "Tenants.replace_hash": lambda on: on.tenants.replace_hash(TENANT, "hash"),
    "Tenants.decide_revocation": lambda on: on.tenants.decide_revocation("shop", RevocationReason.ALL_REVOKED, a_key()),
    "Tenants.find_decision": lambda on: on.tenants.find_decision("shop", a_key()),
    "Tenants.find_decision_by_email": lambda on: on.tenants.find_decision_by_email(TENANT.email, a_key()),
    "Tenants.finish_revocation": lambda on: on.tenants.finish_revocation(OF_TENANT),
    "Tenants.unfinished_revocations": lambda on: on.tenants.unfinished_revocations(LATER, 10),
    "Tenants.enable": lambda on: on.tenants.enable("shop", a_key()),
    "Tenants.begin_reset": lambda on: on.tenants.begin_reset(OTHER_TENANT, RESET),
    "Tenants.change_settings": lambda on: on.tenants.change_settings("bank", {"max_key_lifetime_days": 1}, a_key()),
    "Tenants.request_counts": lambda on: on.tenants.request_counts(["bank"], NOW),
    "Tenants.with_requested_counts": lambda on: on.tenants.with_requested_counts(10),
    "Tenants.store_counts": lambda on: on.tenants.store_counts("bank", StoredCounts(1, 1, NOW)),
    "Users.add": lambda on: on.users.add(a_user(tenant="shop")),
    "Users.add_new": lambda on: on.users.add_new([a_user(tenant="shop")]),
    "Users.find": lambda on: on.users.find("shop", "ann"),
    "Users.spelling": lambda on: on.users.spelling("shop", DECOMPOSED),
    "Users.spelled": lambda on: on.users.spelled("shop", ["ann"]),
    "Users.is_current": lambda on: on.users.is_current(USER),
    "Users.operators": lambda on: on.users.operators(None, 10),
    "Users.replace_operator_permissions": lambda on: on.users.replace_operator_permissions(
        USER, {Permission.USERS_READ}, a_key()
    ),
    "Users.page": lambda on: on.users.page("shop", "", "", 10),
    "Users.named": lambda on: on.users.named({"ann"}, "", 10),
    "Users.tenants_of": lambda on: on.users.tenants_of({"ann"}, 10),
    "Users.count": lambda on: on.users.count("shop", None),
    "Users.logins": lambda on: on.users.logins("shop", "", 10),
    "Users.change": lambda on: on.users.change("shop", "ann", UserChanges({"sub": "other"}), a_key()),
    "Users.replace_hash": lambda on: on.users.replace_hash(USER, "hash"),
    "Users.decide_revocation": lambda on: on.users.decide_revocation(
        "shop", "ann", RevocationReason.ALL_REVOKED, a_key()
    ),
    "Users.finish_revocation": lambda on: on.users.finish_revocation(OF_USER),
    "Users.tenants_with_unfinished_revocations": lambda on: on.users.tenants_with_unfinished_revocations(LATER),
    "Users.unfinished_revocations": lambda on: on.users.unfinished_revocations("shop", LATER, 10),
    "Users.remove_all": lambda on: on.users.remove_all("bank"),
    "Sessions.add": lambda on: on.sessions.add(a_session()),
    "Sessions.find": lambda on: on.sessions.find([SESSION.id]),
    "Sessions.live_of_user": lambda on: on.sessions.live_of_user(USER, NOW, 10),
    "Sessions.live_keys": lambda on: on.sessions.live_keys("shop", NOW, 10),
    "Sessions.replace_secrets": lambda on: on.sessions.replace_secrets(KEY, ROTATED),
    "Sessions.revoke": lambda on: on.sessions.revoke(SESSION, REVOCATION),
    "Sessions.revoke_older": lambda on: on.sessions.revoke_older(OF_USER, NOW, 10),
    "Sessions.revoke_of_tenant": lambda on: on.sessions.revoke_of_tenant(OF_TENANT, NOW, 10),
    "Sessions.count_of_users": lambda on: on.sessions.count_of_users("shop", NOW, 10),
    "Sessions.over_limit": lambda on: on.sessions.over_limit(SESSION, 0, NOW, 10),
    "Sessions.limit_enforced": lambda on: on.sessions.limit_enforced(SESSION),
    "Sessions.tenants_enforcing_limit": lambda on: on.sessions.tenants_enforcing_limit(LATER),
    "Sessions.enforcing_limit": lambda on: on.sessions.enforcing_limit("shop", LATER, 10),
    "Sessions.tenants_unannounced": lambda on: on.sessions.tenants_unannounced(LATER),
    "Sessions.unannounced": lambda on: on.sessions.unannounced("shop", LATER, 10),
    "Sessions.unannounced_of": lambda on: on.sessions.unannounced_of("shop", 10),
    "Sessions.announced_after": lambda on: on.sessions.announced_after("shop", NOW, "", 10),
    "Sessions.announced": lambda on: on.sessions.announced(SESSION, NOW),
    "Sessions.refused": lambda on: on.sessions.refused(SESSION, NOW, LATER),
    "Attempts.find": lambda on: on.attempts.find(["ann"]),
    "Attempts.count": lambda on: on.attempts.count("ann", None, LIMIT, NOW),
    "Attempts.failed": lambda on: on.attempts.failed("ann"),
    "Attempts.take_back": lambda on: on.attempts.take_back("ann"),
    "Attempts.keep": lambda on: on.attempts.keep("ann", NOW, LATER),
    "Attempts.forget": lambda on: on.attempts.forget("ann"),
    "Audit.append": lambda on: on.audit.append(RECORD),
    "Audit.page": lambda on: on.audit.page(EVERYTHING, 10),
    "SweepLeases.take": lambda on: on.leases.take(["work"], NOW, LATER),
}
#: Methods that write. The others wait for no majority.
WRITING = {
    *(f"Tenants.{name}" for name in ("add", "replace_hash", "decide_revocation", "finish_revocation", "enable")),
    *(f"Tenants.{name}" for name in ("begin_reset", "change_settings", "request_counts", "store_counts")),
    *(f"Users.{name}" for name in ("add", "add_new", "change", "replace_hash", "decide_revocation")),
    *(f"Users.{name}" for name in ("finish_revocation", "remove_all")),
    *(f"Sessions.{name}" for name in ("add", "revoke", "revoke_older", "revoke_of_tenant", "limit_enforced")),
    *(f"Sessions.{name}" for name in ("announced", "refused", "replace_secrets")),
    "Users.replace_operator_permissions",
    *(f"Attempts.{name}" for name in ("count", "failed", "take_back", "keep", "forget")),
    "Audit.append",
    "SweepLeases.take",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DatabaseStack]:
    async with database_stack(tmp_path_factory.mktemp("database")) as stack:
        async with connect(stack.url) as database:
            await create_indexes(database)
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def adapters(stack: DatabaseStack) -> AsyncIterator[Adapters]:
    """Adapters on the database with faults, in which the records above are stored."""
    async with connect(stack.url) as database, connect(stack.faulty.url) as faulty:
        for name in INDEXES:
            await database.collection(name).delete_many({})
        direct = Adapters.on(database)
        await direct.tenants.add(TENANT)
        await direct.tenants.add(OTHER_TENANT)
        await direct.users.add(USER)
        await direct.users.add(a_user(tenant="bank"))
        await direct.sessions.add(SESSION)
        await direct.sessions.add(KEY)
        yield Adapters.on(faulty)


async def test_methods_of_the_table_are_all_methods_of_the_ports() -> None:
    ports = (Tenants, Users, Sessions, Attempts, Audit, SweepLeases)
    methods = {f"{port.__name__}.{name}" for port in ports for name in vars(port) if not name.startswith("_")}
    assert METHODS.keys() == methods - {"Audit.attempted"}, "Audit.attempted only fills a queue"


@pytest.mark.parametrize("name", [name for name in FAULTS if LONG or name in BOUNDED])
async def test_every_method_during_a_failover_is_unavailable(
    stack: DatabaseStack, adapters: Adapters, name: str
) -> None:
    """The next attempt, after the failover, succeeds."""
    async with stack.faulty.failing(FAULTS[name]):
        during = await _outcomes(adapters)
    assert during == dict.fromkeys(METHODS, Unavailable)
    assert {type(outcome) for outcome in (await _outcomes(adapters)).values()} == {bool}


@pytest.mark.parametrize("name", [name for name in NOT_DURABLE if LONG or name in BOUNDED_NOT_DURABLE])
async def test_every_write_that_is_not_durable_is_unavailable(
    stack: DatabaseStack, adapters: Adapters, name: str
) -> None:
    async with stack.faulty.failing(NOT_DURABLE[name]):
        during = await _outcomes(adapters)
    assert {method: during[method] for method in WRITING} == dict.fromkeys(WRITING, Unavailable)
    # Some of these errors also make the driver look for another primary, so reads may fail too.
    assert {during[method] for method in METHODS.keys() - WRITING} <= {True, Unavailable}
    assert {type(outcome) for outcome in (await _outcomes(adapters)).values()} == {bool}


@pytest.mark.parametrize("method", REPEATED)
@pytest.mark.parametrize("fault", ONCE, ids=["error", "connection closed"])
async def test_write_of_many_documents_during_a_step_down_is_repeated(
    stack: DatabaseStack, adapters: Adapters, method: str, fault: FailCommand
) -> None:
    """The driver does not do this: a revocation of all sessions would fail with each change of the primary."""
    async with stack.faulty.failing(fault):
        await METHODS[method](adapters)


async def test_sessions_revoked_before_the_answer_is_lost_are_revoked_once(stack: DatabaseStack) -> None:
    async with connect(stack.proxy.url) as database:
        sessions = MongoSessions(database)
        added = [await sessions.add(a_session(user="bob")) for _ in range(3)]
        decision = UserRevocation("shop", "bob", "bob", 1, RevocationReason.ALL_REVOKED)
        async with stack.proxy.failing(FailCommand(WRITES, times=1, close_after=True)) as injection:
            revoked = await sessions.revoke_older(decision, NOW, 10)
        assert injection.injected == 1
        assert {session.id for session in revoked} == {session.id for session in added}


@pytest.mark.parametrize("code", [WTIMEOUT, 189])
async def test_activity_and_refused_attempts_that_are_not_durable_raise_nothing(
    stack: DatabaseStack, adapters: Adapters, code: int
) -> None:
    """They are written in the background: a failure is logged, and the next batch is tried."""
    async with connect(stack.faulty.url) as faulty:
        activity = MongoActivity(faulty)
        activity.seen(SESSION, NOW)
        adapters.audit.attempted(RECORD)
        async with stack.faulty.failing(FailCommand(WRITES, write_concern_error=code)):
            await activity.write()
            await adapters.audit.write()


async def _outcomes(adapters: Adapters) -> dict[str, object]:
    """Return for each method True, or the class of what it raised."""

    async def outcome(method: Method) -> object:
        try:
            await method(adapters)
        except Exception as error:  # noqa: BLE001 - whatever it raises is compared
            return type(error)
        return True

    outcomes = await asyncio.gather(*map(outcome, METHODS.values()))
    return dict(zip(METHODS, outcomes, strict=True))
