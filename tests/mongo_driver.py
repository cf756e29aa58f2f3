"""The client library for MongoDB with which the tests run: `AUTH_MONGO_DRIVER=pymongo`, or Motor.

The variable is the service's own, so the processes that tests start inherit it.
"""

import functools
import os
from typing import Final

from worker.adapters import mongo_database
from worker.adapters.mongo_database import Driver

DRIVER: Final[Driver] = "pymongo" if os.environ.get("AUTH_MONGO_DRIVER") == "pymongo" else "motor"

#: `mongo_database.connect` with that library.
connect = functools.partial(mongo_database.connect, driver=DRIVER)
