"""Which failures of the database are temporary: during elections, at shutdown, under load, or without a majority."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from shared.contracts.errors import Unavailable

ResultT = TypeVar("ResultT")

#: Errors after which the driver repeats a single write or read, once, on the server that is the
#: primary by then. (MongoDB specification "Retryable Writes", "Determining Retryable Errors".)
RETRYABLE_CODES: Final = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)
#: Further errors that pass without a change of the request or of the database.
TEMPORARY_CODES: Final = RETRYABLE_CODES | frozenset(
    {
        43,  # CursorNotFound: the cursor was of another primary
        50,  # MaxTimeMSExpired
        112,  # WriteConflict
        133,  # FailedToSatisfyReadPreference: mongos sees no primary
        175,  # QueryPlanKilled
        202,  # NetworkInterfaceExceededTimeLimit
        237,  # CursorKilled
        365,  # TemporarilyUnavailable
        462,  # IngressRequestRateLimitExceeded
        11601,  # Interrupted
    }
)
#: Labels by which a server marks errors as temporary, whatever their code.
TEMPORARY_LABELS: Final = ("RetryableWriteError", "RetryableError", "TransientTransactionError")
#: Errors with which a database does not answer in time, but is there.
LATE: Final = (ExecutionTimeout, NetworkTimeout, WTimeoutError)


def is_temporary(error: PyMongoError) -> bool:
    """Return whether a later attempt may succeed, so that the caller gets `unavailable` and no `internal`.

    Every write concern error counts: the write was done, but may be rolled back in an election.
    """
    if isinstance(error, ConnectionFailure | WriteConcernError) or any(map(error.has_error_label, TEMPORARY_LABELS)):
        return True
    if isinstance(error, BulkWriteError):
        failed = [*error.details.get("writeErrors", ()), *error.details.get("writeConcernErrors", ())]
        return bool(error.details.get("writeConcernErrors")) or any(each["code"] in TEMPORARY_CODES for each in failed)
    return isinstance(error, OperationFailure) and error.code in TEMPORARY_CODES


def log_message(error: PyMongoError) -> str:
    """Return what the log says of a temporary failure."""
    if isinstance(error, LATE):
        return "database does not answer in time"
    if isinstance(error, ConnectionFailure):
        return "database is away"
    if isinstance(error, WriteConcernError):
        return "a write may be lost in an election, so it is not acknowledged"
    return "database refuses a command for now"


def unavailable(error: PyMongoError) -> Unavailable:
    """Return the error of operations for a temporary failure. It says which kind it is, and nothing of the request."""
    if isinstance(error, LATE):
        return Unavailable("database did not answer in time, try again")
    return Unavailable()


async def repeated(write: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Run an idempotent write of many documents, and once more if it fails during a change of the primary.

    The driver repeats writes of single documents only. A write that waited too long for a server or
    for an answer is not repeated, since its caller would wait as long again.
    """
    try:
        return await write()
    except (*LATE, ServerSelectionTimeoutError):
        raise
    except (ConnectionFailure, OperationFailure) as error:
        if not isinstance(error, ConnectionFailure) and error.code not in RETRYABLE_CODES:
            raise
    return await write()
