"""`python -m worker --check`: checks that a worker can use the configured broker and database."""

from shared.amqp.topology import RPC_EXCHANGE
from shared.process.broker_check import BrokerNeeds, broker_problems
from worker.adapters import mongo_database
from worker.adapters.primary_lease import lease_problems
from worker.settings import Settings

#: Replies are published here. Publishing events is not checked, since subscribers would receive the
#: test event.
DEFAULT_EXCHANGE = ""


async def worker_problems(settings: Settings) -> list[str]:
    """Return the problems found, one line each. Empty: the worker can start."""
    needs = BrokerNeeds(publishes=(DEFAULT_EXCHANGE,), queues=f"{RPC_EXCHANGE}.")
    found = await broker_problems(settings, needs)
    url = settings.mongo_url.get_secret_value()
    async with mongo_database.connect(url, driver=settings.mongo_driver) as database:
        of_database = await database.problems()
        if settings.primary_lease and not of_database:
            of_database = await lease_problems(database)
        return [*found, *(f"database: {line}" for line in of_database)]
