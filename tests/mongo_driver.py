"""Connections of tests to MongoDB, with the client library that `AUTH_MONGO_DRIVER` names, or Motor.

The variable is the service's own, so the processes that tests start inherit it.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from pymongo.monitoring import CommandListener

from worker.adapters import mongo_database
from worker.adapters.mongo_database import SOCKET_TIMEOUT_MS, Driver, MongoDatabase

#: The library of the next connections; a fixture of the contract suites changes it.
driver: Driver = "pymongo" if os.environ.get("AUTH_MONGO_DRIVER") == "pymongo" else "motor"


def connect(
    url: str, listeners: Sequence[CommandListener] = (), socket_timeout_ms: int | None = SOCKET_TIMEOUT_MS
) -> AbstractAsyncContextManager[MongoDatabase]:
    """Connect as `mongo_database.connect` does, with that library."""
    return mongo_database.connect(url, listeners, socket_timeout_ms, driver=driver)
